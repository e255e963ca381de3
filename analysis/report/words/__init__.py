"""The words of a report: sentences made from the records of a decision."""
