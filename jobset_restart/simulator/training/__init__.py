"""Trainings as data: ranks that step together, what they print, and what their processes are seen to do.

Nothing is simulated step by step: what there is to see at a moment is worked out when somebody asks for it.
"""
