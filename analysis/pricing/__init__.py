"""What an instance costs an hour: the dated table and how it is renewed."""
