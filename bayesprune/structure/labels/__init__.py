"""Labels of channels, followed through the passes of a network: which channels can only go together, and why some stay.

`follow` runs a network once in each mode. Every element of every activation has the label of the channel that it
belongs to, kept by storage, so that views need no rule (`storages`). Layers that are known are taken as a whole
(`modules`, `layers`, `insides`, `normalised`); everything else is followed operator by operator (`operators`). Channels
that can only go together are united (`universe`), what keeps some of them from going is remembered with its place, and
`classes` makes groups of the rest.
"""
