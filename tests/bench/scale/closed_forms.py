"""Waiting times that are known exactly, to hold the simulation to. Rates are per second, times in seconds.

Kleinrock, Queueing Systems 1 (1975): M/M/c (Erlang C), M/G/1 (Pollaczek and Khinchine), the machine repair model.
Crommelin (1932): M/D/c. Allen and Cunneen's approximation of M/G/c: Allen, Probability, Statistics and Queueing Theory
(1990).
"""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np


def erlang_c(load: float, servers: int) -> float:
    """Returns the share of requests that wait in M/M/c, `load` = rate x seconds of service (below `servers`)."""
    blocked = 1.0
    for server in range(1, servers + 1):  # Erlang B, by its recursion
        blocked = load * blocked / (server + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def mmc_wait(rate: float, service: float, servers: int = 1) -> float:
    """Returns the mean wait in M/M/c."""
    load = rate * service
    return erlang_c(load, servers) * service / (servers - load)


def mgc_wait(rate: float, service: float, variation: float, servers: int = 1) -> float:
    """Returns the mean wait in M/G/c by Allen and Cunneen; exact for one server.

    `variation` is the service time's variance over its mean squared.
    """
    return mmc_wait(rate, service, servers) * (1 + variation) / 2


def mdc_wait(rate: float, service: float, servers: int = 1) -> float:
    """Returns the mean wait in M/D/c, exactly.

    Whoever is served at a moment has left one service time later, so the number in the system obeys
    N(t + service) = max(N(t) - servers, 0) + Poisson(rate x service); its stationary distribution is iterated.
    """
    load = rate * service
    size = int(servers + load + 60 * (1 + load / max(servers - load, 1e-9)) ** 0.5 + 60 / (1 - load / servers))
    arrivals = np.array([exp(n * log(load) - load - lgamma(n + 1)) for n in range(size)])
    state = np.zeros(size)
    state[0] = 1.0
    for _ in range(100_000):
        left = np.concatenate(([state[: servers + 1].sum()], state[servers + 1 :]))
        after = np.convolve(left, arrivals)[:size]
        after /= after.sum()
        if np.abs(after - state).max() < 1e-13:
            break
        state = after
    waiting = np.maximum(np.arange(size) - servers, 0)
    return float(waiting @ state) / rate


def repair_pace(users: int, think: float, service: float, servers: int = 1) -> float:
    """Returns answers a second of the machine repair model: `users` who each think, then ask, then wait (M/M/c//N)."""
    weights = [1.0]
    for n in range(1, users + 1):
        weights.append(weights[-1] * (users - n + 1) * service / (think * min(n, servers)))
    total = sum(weights)
    return sum(weight * min(n, servers) for n, weight in enumerate(weights)) / total / service
