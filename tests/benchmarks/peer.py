"""A training step in PyTorch, as a user would write it, compiled: the peer of onsager's step.

The work of a step is the same: a fresh batch of Bernoulli-Gaussian samples (N = 500, M = 250, 40 dB, γ = 0.1), forward
through all layers, the squared error of the last one, backward, Adam on everything. float32, samples as rows.

    python -m tests.benchmarks.peer lamp-bg --depth 10 --batch 1000 --seconds 5

prints one JSON object: milliseconds per step (median), and the rate of PyTorch's matrix products on the shapes of a
layer of LAMP, in GFLOP/s.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

M, N, GAMMA, SNR_DB = 250, 500, 0.1, 40.0


def soft(r: Tensor, variance: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    size = r.abs() - theta[1] * variance.sqrt()
    return theta[0] * r.sign() * torch.relu(size), theta[0] * (size > 0).float().mean(1, keepdim=True)


def bernoulli_gaussian(r: Tensor, variance: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    phi = theta[0]
    beta = phi / (phi + variance)
    square = r * r * beta / variance
    active = torch.sigmoid(0.5 * square - theta[1] - 0.5 * torch.log1p(phi / variance))
    return beta * r * active, (beta * (active + square * active * (1 - active))).mean(1, keepdim=True)


class Lamp(nn.Module):
    """Tied LAMP; `start` is the θ of every layer."""

    def __init__(self, A: Tensor, depth: int, eta: Callable[..., tuple[Tensor, Tensor]], start: list[float]):
        super().__init__()
        self.eta = eta
        self.register_buffer("At", A.t().contiguous())
        self.B = nn.Parameter(A.clone())
        self.theta = nn.ParameterList([nn.Parameter(torch.tensor(start)) for _ in range(depth)])

    def forward(self, y: Tensor) -> Tensor:
        v, x, slope = y, None, torch.zeros(1)
        for theta in self.theta:
            if x is not None:
                v = y - x @ self.At + (N / M) * slope * v
            r = v @ self.B if x is None else x + v @ self.B
            x, slope = self.eta(r, (v * v).mean(1, keepdim=True), theta)
        assert x is not None
        return x


class Lista(nn.Module):
    """Tied LISTA with a threshold per layer."""

    def __init__(self, A: Tensor, depth: int):
        super().__init__()
        B = A / (1.01 * torch.linalg.matrix_norm(A, 2) ** 2)
        self.B, self.S = nn.Parameter(B.clone()), nn.Parameter(torch.eye(N) - A.t() @ B)
        self.threshold = nn.ParameterList([nn.Parameter(torch.tensor(0.1)) for _ in range(depth)])

    def forward(self, y: Tensor) -> Tensor:
        By, x = y @ self.B, None
        for threshold in self.threshold:
            r = By if x is None else x @ self.S + By
            x = r.sign() * torch.relu(r.abs() - threshold)
        assert x is not None
        return x


class Lvamp(nn.Module):
    """Tied LVAMP with Bernoulli-Gaussian shrinkage: U, s, V and the noise variance learn, and θ per layer."""

    def __init__(self, A: Tensor, depth: int, noise_variance: float):
        super().__init__()
        U, s, Vt = torch.linalg.svd(A, full_matrices=False)
        self.U, self.V = nn.Parameter(U.contiguous()), nn.Parameter(Vt.t().contiguous())
        self.log_s, self.log_noise = nn.Parameter(s.log()), nn.Parameter(torch.tensor(noise_variance).log())
        self.theta = nn.ParameterList([nn.Parameter(torch.tensor([1.0, math.log(9)])) for _ in range(depth)])

    def forward(self, y: Tensor) -> Tensor:
        z, s = y @ self.U, self.log_s.exp()
        r_tilde, variance = torch.zeros(len(y), N), (y * y).sum(1, keepdim=True) / N
        energy, x = (self.V * self.V).sum(0), r_tilde
        for theta in self.theta:
            g = s / (s * s + self.log_noise.exp() / variance)
            d = s * g
            zeta = N / (d * energy).sum(1, keepdim=True).clamp(0.5, N - 0.5)
            r = r_tilde + (zeta * (g * z - d * (r_tilde @ self.V))) @ self.V.t()
            variance = (variance * (zeta - 1)).clamp_min(1e-20)
            x, slope = bernoulli_gaussian(r, variance, theta)
            slope = slope.clamp(0.5 / N, 1 - 0.5 / N)
            r_tilde, variance = (x - slope * r) / (1 - slope), (variance * slope / (1 - slope)).clamp_min(1e-20)
        return x


def made(name: str, A: Tensor, depth: int, noise_variance: float) -> nn.Module:
    """The network of this name."""
    if name == "lista":
        return Lista(A, depth)
    if name == "lvamp-bg":
        return Lvamp(A, depth, noise_variance)
    if name == "lamp-soft":
        return Lamp(A, depth, soft, [1.0, 1.0])
    return Lamp(A, depth, bernoulli_gaussian, [1.0, math.log(9)])


def median_seconds(run: Callable[[], object], seconds: float) -> float:
    """Median time of `run` after three calls that do not count."""
    for _ in range(3):
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def gflops(batch: int) -> float:
    """The rate of the five products of a layer of LAMP."""
    B, v, g = torch.randn(M, N), torch.randn(batch, M), torch.randn(batch, N)
    products = (lambda: v @ B, lambda: g @ B.t(), lambda: g @ B.t(), lambda: v @ B, lambda: v.t() @ g)
    seconds = sum(median_seconds(product, 0.3) for product in products)
    return len(products) * 2 * M * N * batch / seconds / 1e9


def step_seconds(name: str, depth: int, batch: int, seconds: float) -> float:
    """Seconds of a training step."""
    torch.manual_seed(1)
    A = torch.randn(M, N) / math.sqrt(M)
    At, noise_variance = A.t().contiguous(), GAMMA * N / M * 10 ** (-SNR_DB / 10)
    net = made(name, A, depth, noise_variance)
    loss = torch.compile(lambda y, x: 0.5 * ((net(y) - x) ** 2).sum())
    adam = torch.optim.Adam(net.parameters(), lr=1e-6)

    def step() -> None:
        x = (torch.rand(batch, N) < GAMMA).float() * torch.randn(batch, N)
        y = x @ At + math.sqrt(noise_variance) * torch.randn(batch, M)
        adam.zero_grad(set_to_none=True)
        loss(y, x).backward()
        adam.step()

    return median_seconds(step, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=("lamp-bg", "lamp-soft", "lista", "lvamp-bg"))
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    step = step_seconds(options.network, options.depth, options.batch, options.seconds)
    print(json.dumps({"ms": 1e3 * step, "gflops": gflops(options.batch)}))


if __name__ == "__main__":
    main()
