"""Kinds of figures: their tables, their drawings, their part of a record page. Drawing needs tables alone."""
