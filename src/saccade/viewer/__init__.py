"""A viewer in the browser: images of any size, and what lies over them, from a server on this machine alone.

:mod:`saccade.viewer.gallery` says which images there are and what lies over each,
:mod:`saccade.viewer.planes` draws patches of them, :mod:`saccade.viewer.tiles` and
:mod:`saccade.viewer.server` hand them out, and ``page`` shows them.
"""
