"""Sections of a network, each x -> skip(x) + F(x): finding them, gating their branches, deleting them.

A **section** has one gate: closed means that its branch F gives zeros. Deleting a closed section takes the branch away
and leaves the skip, so that the function stays what it was with the gate closed.
"""
