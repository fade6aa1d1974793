"""`attnpo reproduce`: every method on the small world, cell by cell, and the table of what came out."""
