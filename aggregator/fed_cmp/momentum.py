"""Momentum of a basis that keeps it orthonormal: Procrustes alignment, a tangent step, polar retraction. Float64."""

from dataclasses import dataclass

import numpy as np

from aggregator.blocks import F64


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is published of one matrix: its basis and the basis' momentum, [rows, rank], rank above 0."""

    basis: F64
    momentum: F64


@dataclass(frozen=True, slots=True)
class Moved:
    """A basis after its step.

    Attributes:
        vectors: The moved basis, orthonormal columns [rows, rank], in the order of the directions it was computed for.
        remembered: The same in the order of last round's directions, and the next momentum.
    """

    vectors: F64
    remembered: Remembered


def moved(vectors: F64, before: Remembered, *, beta: float) -> Moved:
    """One step: M' = beta M + (U Q - U_before), made tangent at U Q; U' = polar(U Q + beta M').

    Q is the rotation that brings U nearest to U_before (orthogonal Procrustes), so that signs, order and rotations of
    directions are no movement. At beta = 0 the basis stays what it is.

    Args:
        vectors: U, orthonormal columns [rows, rank].
        before: Of the round before, of the same shape.
        beta: In [0, 1).
    """
    rotation = procrustes(vectors, before.basis)
    aligned = vectors @ rotation
    momentum = tangent(aligned, beta * before.momentum + (aligned - before.basis))
    basis = polar(aligned + beta * momentum)
    return Moved(basis @ rotation.T, Remembered(basis, momentum))


def procrustes(vectors: F64, target: F64) -> F64:
    """The orthogonal Q, [rank, rank], for which |U Q - target| is least.

    Source: Schonemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 1966.
    """
    left, _, right = np.linalg.svd(vectors.T @ target)
    rotation: F64 = left @ right
    return rotation


def tangent(basis: F64, step: F64) -> F64:
    """The part of a step that is tangent to the Stiefel manifold at a basis: Z - U sym(U^T Z)."""
    inner = basis.T @ step
    return step - basis @ ((inner + inner.T) / 2.0)


def polar(matrix: F64) -> F64:
    """The nearest matrix with orthonormal columns, X (X^T X)^(-1/2).

    Every singular value of a basis plus a tangent step is 1 or more, so that the root is well conditioned.
    """
    squares, directions = np.linalg.eigh(matrix.T @ matrix)
    nearest: F64 = matrix @ (directions / np.sqrt(squares)) @ directions.T
    return nearest
