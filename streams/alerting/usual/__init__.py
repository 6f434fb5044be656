"""What is usual of a KPI: a detector for each rule and scope learns it from closed windows."""
