"""A function for each command that trains, predicts, measures or exports; what the others do (init, demo,
view, models, and predict of an exported model, which needs no torch) lies in the rooms below."""
