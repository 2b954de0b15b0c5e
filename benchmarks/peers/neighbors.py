#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Milliseconds that FAISS's exact search, IndexFlatIP, takes for the ten nearest of each of 10,000 unit vectors of
2,032 numbers: what benchmarks/neighbors.cpp times, without making the unit vectors.

    neighbors.py THREADS
"""

import sys
import time

import faiss
import numpy

faiss.omp_set_num_threads(int(sys.argv[1]))
table = numpy.random.default_rng(1).standard_normal((10_000, 2_032), dtype=numpy.float32)
faiss.normalize_L2(table)
index = faiss.IndexFlatIP(table.shape[1])
index.add(table)
start = time.perf_counter()
index.search(table, 10)
print(f"{1000 * (time.perf_counter() - start):.0f}")
