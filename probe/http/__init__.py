"""The door of the probe's HTTP side: who may come in, how often, how much and how slowly.

Nothing here knows what is behind the door.
"""
