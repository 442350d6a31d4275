"""Compares versions on a file of questions: ranking quality, agreement, speed."""
