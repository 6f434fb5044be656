"""Calendar of special days: shopping festivals, public holidays and days of your own."""
