"""The report of a run on frames: facts as data first, then a page, a text and a screen."""
