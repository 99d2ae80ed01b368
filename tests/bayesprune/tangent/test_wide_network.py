"""The kernel of a wide network against the limit that theory gives for it."""

import torch
from torch import Tensor, nn

from bayesprune.tangent.kernels import contracted_kernel, tangent_kernel

WIDTH = 20_000


class Wide(nn.Module):
    """f_k(x) = sum_j v_kj relu(w_j . x + b_j) / sqrt(m), with all of v, w and b drawn from N(0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 2, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.hidden(inputs).relu()) / WIDTH**0.5
        return outputs


def limit(first: Tensor, second: Tensor) -> Tensor:
    """The kernel [N, M] of one logit at infinite width.

    Write z = (x, 1), so that w_j . x + b_j = u_j . z with u_j from N(0, I). The gradients are

        d f / d v_j = relu(u_j . z) / sqrt(m)        d f / d u_j = v_j 1[u_j . z > 0] z / sqrt(m)

    and their inner products at two inputs are means over m independent units, that go to their expectations

        E[relu(u . z) relu(u . z')] + E[v^2] E[1[u . z > 0] 1[u . z' > 0]] z . z'.

    Only the plane of z and z', which enclose the angle a, matters. There u has a uniform direction, and both
    scalar products are positive in a sector of pi - a of 2 pi: the second expectation is (pi - a) / 2 pi (the
    arc-cosine kernel of order 0). With u = r (cos t, sin t) and E[r^2] = 2 the first one is
    |z| |z'| E[r^2] / 2 pi times the integral of cos(t) cos(t - a) over a - pi/2 < t < pi/2, which is
    (sin a + (pi - a) cos a) / 2: together |z| |z'| (sin a + (pi - a) cos a) / 2 pi (order 1; Cho and Saul, 2009).
    """
    one, two = (torch.cat([batch, torch.ones(len(batch), 1, dtype=batch.dtype)], 1) for batch in (first, second))
    products, lengths = one @ two.T, one.norm(dim=1)[:, None] * two.norm(dim=1)[None]
    angle = (products / lengths).clamp(-1, 1).acos()
    both = (torch.pi - angle) / (2 * torch.pi)
    return lengths * angle.sin() / (2 * torch.pi) + products * both + products * both


def standard_errors(network: Wide, first: Tensor, second: Tensor) -> Tensor:
    """Of the mean over units that the kernel of logits 0 and 0 is [N, M], from the units' own terms."""
    (one, two), square = (network.hidden(batch) for batch in (first, second)), network.head.weight[0].square()
    products = (first @ second.T + 1)[:, :, None]
    active = ((one > 0).double() * square)[:, None] * (two > 0).double()[None]
    terms = one.relu()[:, None] * two.relu()[None] + active * products
    return terms.std(2) / WIDTH**0.5


def test_a_wide_network_has_the_kernel_of_an_infinite_one() -> None:
    torch.manual_seed(0)
    network = Wide().double()
    first, second = torch.randn(4, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    second[0] = first[0]  # an angle of 0, too
    with torch.no_grad():
        errors, expected = standard_errors(network, first, second), limit(first, second)
        assert float((errors / expected).median()) < 0.03  # otherwise nothing would be shown
        for way in (tangent_kernel, contracted_kernel):
            kernel = way(network, first, second)
            for logit in (0, 1):
                assert bool(((kernel[:, :, logit, logit] - expected).abs() < 4.5 * errors).all())
            # Two logits have independent v: the expectation of their product is 0.
            assert bool((kernel[:, :, 0, 1].abs() < 4.5 * errors).all())
