"""Pictures and pages of what a model did. Importing this loads neither Matplotlib nor Jinja."""
