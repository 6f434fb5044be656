"""What travels between the rooms: frozen values, no I/O, no Faust."""
