"""What a run would do or did, for people (`table`), for programs (`json`) and for spreadsheets (`csv`)."""
