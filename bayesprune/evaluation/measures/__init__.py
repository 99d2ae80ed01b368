"""Measures of predictions by kind of target: classes, tags, numbers, counts and positions.

Each module holds pure functions on tensors. They compute on the CPU in float64 and do not check shapes or
ranges: the caller has done so. Where a measure is undefined it is None, never NaN.
"""
