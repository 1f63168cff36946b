"""Readable names for runs that were given none."""

from __future__ import annotations

import os

_ADJECTIVES = """
able airy amber ample avid azure bold brave breezy bright brisk bronze calm candid cheery clear
clever coral cosy crisp curious dapper daring deft dewy eager early earnest fair fancy fleet fond
frank fresh gentle giddy glad golden grand happy hardy hazel honest humble ivory jade jaunty jolly
keen kind lively loyal lucid lunar mellow merry mild mint misty modest neat nimble noble opal
patient plucky polite proud quick quiet rapid ready rosy ruby rustic sage serene sharp silent silver
sleek smooth snug solar solid spry stable steady stellar sunny swift tidy tranquil trusty upbeat
vivid warm wise witty zesty
"""
_NOUNS = """
acorn anchor aspen badger bamboo beacon beaver birch bison brook canyon cedar cliff clover comet
condor copper cove crane creek cricket delta dolphin dune eagle ember falcon fern finch fjord forest
fox gale geyser glacier glade granite grove gull harbor hare hawk hazel heron hill ibis iris island
jaguar juniper kestrel lagoon lake lark laurel lemur lichen lily lotus lynx magpie maple marmot
marsh meadow mesa moose moss moth newt oak ocean orchid oriole osprey otter owl panda pebble pelican
pine plover pond poplar puffin quail quartz rapids raven reed reef ridge river robin salmon sparrow
spruce stork stream summit swan thistle tiger trout tulip tundra valley walrus willow wolf wren yak
"""


def random_name() -> str:
    """For example brisk-heron-412."""
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    number = int.from_bytes(os.urandom(8), "big")
    number, digits = divmod(number, 1000)
    number, noun = divmod(number, len(nouns))
    return f"{adjectives[number % len(adjectives)]}-{nouns[noun]}-{digits}"
