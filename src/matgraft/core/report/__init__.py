"""How a report looks: text, figures and the page, without a word on what it reports."""
