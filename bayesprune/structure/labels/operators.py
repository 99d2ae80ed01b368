"""The table of operators: what each does with labels."""

from typing import Any

import torch

from bayesprune.structure.labels.elementwise import (
    added_at,
    elementwise,
    halves,
    moved,
    packed,
    put,
    reduced,
    spatial,
    triangular,
)
from bayesprune.structure.labels.normalised import batch_norm, group_norm, layer_norm
from bayesprune.structure.labels.products import attention, convolution, embedding, mixed, mm
from bayesprune.structure.labels.trace import Rule

_MOVED = """
    cat stack index index_select gather take repeat flip roll rot90 constant_pad_nd im2col pixel_shuffle pixel_unshuffle
    channel_shuffle native_channel_shuffle reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d repeat_interleave select_scatter slice_scatter diagonal_scatter unfold_copy
    permute_copy view_copy _reshape_copy expand_copy diagonal_copy slice_copy split_copy split_with_sizes_copy
    select_copy transpose_copy t_copy unbind_copy squeeze_copy unsqueeze_copy detach_copy hstack vstack _pad_circular
"""
_REDUCED = """
    sum mean amax amin max min prod var std var_mean std_mean norm linalg_vector_norm logsumexp argmax argmin any all
    cumsum cumprod cummax cummin logcumsumexp _softmax _log_softmax softmax log_softmax sort argsort topk median
    nanmedian kthvalue mode nansum nanmean aminmax count_nonzero _safe_softmax renorm
"""
_SPATIAL = {
    1: "max_pool1d avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d upsample_nearest1d upsample_linear1d",
    2: """max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d
          upsample_nearest2d upsample_bilinear2d upsample_bicubic2d _upsample_nearest_exact2d _upsample_bilinear2d_aa
          _upsample_bicubic2d_aa fractional_max_pool2d grid_sampler_2d max_pool2d _upsample_lanczos2d_aa""",
    3: """max_pool3d_with_indices avg_pool3d adaptive_avg_pool3d _adaptive_avg_pool3d adaptive_max_pool3d
          upsample_nearest3d upsample_trilinear3d grid_sampler_3d max_pool3d""",
}
_ATTENTION = """
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention scaled_dot_product_attention
    _scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math
"""
_MIXED = """
    _trilinear _cdist_forward cdist _pdist_forward linalg_inv_ex _linalg_svd _linalg_eigh linalg_qr linalg_cross cross
    _fft_r2c _fft_c2r _fft_c2c unique_dim _unique2 nonzero bincount histc col2im
    masked_select masked_scatter linalg_lu_factor_ex linalg_solve_triangular linalg_ldl_factor_ex
    _linalg_solve_ex _linalg_det _linalg_slogdet linalg_matrix_exp searchsorted bucketize ctc_loss nll_loss_forward
    _embedding_bag _embedding_bag_forward_only view_as_complex view_as_real angle tril_indices
    linalg_cholesky_ex cholesky_inverse cholesky_solve triangular_solve max_unpool2d unique_consecutive is_same_size
    cosine_similarity _native_multi_head_attention _transformer_encoder_layer_fwd mkldnn_rnn_layer _thnn_fused_lstm_cell
    _local_scalar_dense _is_all_true _is_any_true equal multinomial
"""
_ELEMENTWISE = """
    copy fill zero _to_copy clone masked_fill where _prelu_kernel lerp clamp clamp_min clamp_max hardswish hardsigmoid
    hardtanh elu celu selu leaky_relu rrelu rrelu_with_noise softplus softshrink hardshrink mish silu gelu threshold
    log_sigmoid_forward nan_to_num relu relu6 square addcmul addcdiv exponential uniform normal random bernoulli cauchy
    log_normal geometric _conj_physical conj_physical real imag polar complex
"""
"""Element by element, though not all of them are tagged so."""

_PRODUCTS = "mm bmm addmm baddbmm addbmm mv addmv dot vdot matmul"
_BATCH_NORM = """
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm
    _batch_norm_with_update _batch_norm_no_update
"""
_SINGLE = "tril triu native_dropout alias detach lift lift_fresh"
_TABLE: dict[str, Rule] = {
    **dict.fromkeys(_MOVED.split(), moved),
    **dict.fromkeys(_REDUCED.split(), reduced),
    **{name: spatial(axes) for axes, names in _SPATIAL.items() for name in names.split()},
    **dict.fromkeys(_ATTENTION.split(), attention),
    **dict.fromkeys(_MIXED.split(), mixed),
    **dict.fromkeys(_SINGLE.split(), triangular),
    **dict.fromkeys(_PRODUCTS.split(), mm),
    **dict.fromkeys(["convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution"], convolution),
    **dict.fromkeys(_ELEMENTWISE.split(), elementwise),
    **dict.fromkeys(_BATCH_NORM.split(), batch_norm),
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    "embedding": embedding,
    "glu": halves,
    **dict.fromkeys(["scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_reduce"], added_at),
    **dict.fromkeys(["_pack_padded_sequence", "_pad_packed_sequence"], packed),
    "index_put": put,
    "_index_put_impl": put,
    "_unsafe_index_put": put,
    "_unsafe_index": moved,
}


def rule_of_operator(func: Any) -> Rule | None:
    """The rule of an operator; None where there is none."""
    name = func._overloadpacket.__name__.rstrip("_")
    if name in _TABLE:
        return _TABLE[name]
    plain = getattr(torch.ops.aten, name, None) if func.namespace == "aten" else None
    overloads = [func, *(getattr(plain, each) for each in plain.overloads())] if plain is not None else [func]
    return elementwise if any(torch.Tag.pointwise in each.tags for each in overloads) else None
