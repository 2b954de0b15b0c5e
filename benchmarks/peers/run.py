#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Raw profiles of one batch by culprit, by other ways of per-sample gradients, and an ordinary training step, timed by turns.

    run.py --bin FOLDER [--device cpu] [--rounds 7] [--threads N] [--without JOB]... [--out FOLDER] [NETWORK[:BATCH]...]

Every job is a process of its own that lives for all rounds; while one is timed the others wait. All use the same weights,
inputs, threads, device and float32, which on a GPU is not TF32 unless NVIDIA_TF32_OVERRIDE says otherwise. A time ends when
the device has nothing left to do. Prints milliseconds (median), their ratio to the faster of LibTorch's two training steps,
peak memory of the process, or of its tensors on a GPU, and how far its profiles are from those of autograd one sample at a
time, relative to the largest number of each layer: computed once more in float64, where more than 1e-4 is an error and makes
the status 1, and as timed, in float32. There another order of additions may put an activation on the other side of a ReLU's
kink, which changes the gradients of that sample: the number of samples beyond 1e-4 is printed. Writes FOLDER/peers.json and
FOLDER/peers.svg.
"""

import argparse
import concurrent.futures
import html
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from statistics import median

import numpy
import profiles
import torch
from safetensors.numpy import load_file

BATCHES = {"resnet20": 128, "resnet56": 64, "resnet50": 8, "mobilenet_v1_025": 32}
STEPS = ("contiguous", "channels_last")
TRAINING = (*STEPS, "training_step")
REFERENCE = "autograd_grad"
JOBS = {
    "contiguous": "training step, C++",
    "channels_last": "training step, C++, channels last",
    "training_step": "training step, Python",
    "workers_channels_last": "culprit, workers, channels last",
    "workers": "culprit, workers",
    "batched": "culprit, LibTorch's threads",
    "autocast": "culprit, workers, bfloat16",
    "parameter_wise": "culprit, workers, ParameterWise",
    "loop": "culprit, Loop",
    "vmap_grad": "torch.func vmap(grad)",
    "opacus": "Opacus GradSampleModule",
    "backpack": "BackPACK BatchGrad",
    "autograd_grad": "autograd.grad, one by one",
    "create_graph": "autograd.grad, create_graph",
    "input_saliency": "culprit, workers, input saliency",
    "input_saliency_published": "input saliency, as published",
}
ONLY_ON_CPU = ("workers", "autocast")
ON_GPU = {  # the names there of jobs that have threads on the CPU
    "workers_channels_last": "culprit, channels last",
    "batched": "culprit",
    "parameter_wise": "culprit, ParameterWise",
    "input_saliency": "culprit, input saliency",
}
TOLERANCE = 1e-4


def say(text):
    print(text, file=sys.stderr, flush=True)


def device(name):
    """That name of a device, where there is one."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda or cuda:N, came {name}")
    count = torch.cuda.device_count()
    if name != "cpu" and (torch.device(name).index or 0) >= count:
        raise argparse.ArgumentTypeError(f"expected a CUDA device that is here, came {name} where there are {count}")
    return name


def jobs_on(device):
    """The names, by method, of the jobs that there are on a device."""
    if device == "cpu":
        return JOBS
    return {method: ON_GPU.get(method, name) for method, name in JOBS.items() if method not in ONLY_ON_CPU}


class Job:
    """A process that is ready for the first round, or the reason why there is none in `refused`."""

    def __init__(self, method, network, options, data):
        self.method, self.milliseconds, self.refused = method, [], None
        self.profiles = data / f"{network}.{method}.profiles"
        self.profiles.unlink(missing_ok=True)
        program = [sys.executable, profiles.__file__]
        if method not in profiles.METHODS:
            program = [options.bin / "peer_job"]
        inputs = (data / f"{network}.weights", data / f"{network}.inputs")
        self.log = data / f"{network}.{method}.log"
        whole_products = {} if options.device == "cpu" else {"NVIDIA_TF32_OVERRIDE": "0"}
        threads = {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*program, network, *inputs, method, self.profiles, options.device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"OMP_WAIT_POLICY": "passive", **whole_products, **os.environ, **threads},
            )
        answer = self.process.stdout.readline().strip()
        if answer.startswith("refused"):
            self.refused = answer.removeprefix("refused ")
            self.process.wait()
        elif answer != "ready":
            self.fail()

    def fail(self):
        raise SystemExit(f"{self.method}: ended with status {self.process.wait()}; see {self.log}")

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
        except (OSError, ValueError):
            self.fail()


def differences(network, jobs):
    """What to say of each job that has profiles, beside those of the reference; nothing without it."""
    layers = {name: len(parameter) for name, parameter in profiles.filters(profiles.make(network)).items()}
    tables = {job.method: load_file(job.profiles) for job in jobs if job.profiles.exists()}
    if REFERENCE not in tables:
        return {}

    def by_sample_and_layer(method, dtype):
        table, reference = tables[method][dtype], tables[REFERENCE][dtype]
        if table.shape != reference.shape:
            raise SystemExit(f"{network}, {method}: profiles {table.shape} instead of {reference.shape}")
        ends = numpy.cumsum(list(layers.values()))
        parts = (numpy.split(values, ends[:-1], 1) for values in (abs(table - reference), abs(reference)))
        return numpy.stack([apart.max(1) / of_layer.max() for apart, of_layer in zip(*parts)], 1)

    result = {}
    for method in tables:
        exact, timed = by_sample_and_layer(method, "float64"), by_sample_and_layer(method, "profiles")
        result[method] = {
            "difference": float(exact.max()),
            "differs_most_in": list(layers)[exact.max(0).argmax()],
            "float32_median_difference": float(numpy.median(timed.max(1))),
            "float32_samples_beyond": int((timed.max(1) > TOLERANCE).sum()),
        }
    return result


def measure(network, batch, options, data):
    profiles.write_network(network, batch, data / f"{network}.weights", data / f"{network}.inputs")
    names = jobs_on(options.device)

    def start_job(method):
        say(f"{network}: starting {names[method]}")
        return Job(method, network, options, data)

    # A GPU's jobs wait for libraries and the device while they start; the CPU's would be in each other's way.
    with concurrent.futures.ThreadPoolExecutor(1 if options.device == "cpu" else options.threads) as pool:
        jobs = list(pool.map(start_job, (method for method in names if method not in options.without)))
    running = [job for job in jobs if not job.refused]
    start = time.monotonic()
    for turn in range(1, options.rounds + 1):
        for job in running:
            job.milliseconds.append(job.ask("run"))
        left = (time.monotonic() - start) / turn * (options.rounds - turn)
        say(f"{network}: round {turn} of {options.rounds}, about {left:.0f} s left for this network")
    say(f"{network}: once more in float64, to compare")
    peaks = {job.method: job.ask("end") / 1024 for job in running}
    for job in running:
        job.process.wait()
    apart = differences(network, running)
    step = min(median(job.milliseconds) for job in running if job.method in STEPS)
    result = {}
    for job in jobs:
        facts = result[job.method] = {"name": names[job.method]}
        if job.refused:
            facts["does_not_accept"] = job.refused
            continue
        facts.update(
            milliseconds=job.milliseconds,
            median=median(job.milliseconds),
            ratio=median(job.milliseconds) / step,
            peak_mib=peaks[job.method],
        )
        facts.update(apart.get(job.method, {}))
    return {"inputs": [batch, *profiles.NETWORKS[network][1]], "jobs": result}


def table(network, result):
    lines = [f"{network}, {'x'.join(map(str, result['inputs']))}"]
    lines.append(f"  {'':34}{'ms':>9}{'ratio':>8}{'MiB':>7}{'float64':>9}{'float32':>9}  samples beyond {TOLERANCE:.0e}")
    for job in result["jobs"].values():
        if "does_not_accept" in job:
            lines.append(f"  {job['name']:34}does not accept: {job['does_not_accept']}")
            continue
        line = f"  {job['name']:34}{job['median']:9.1f}{job['ratio']:8.2f}{job['peak_mib']:7.0f}"
        if "difference" in job:
            line += f"{job['difference']:9.0e}{job['float32_median_difference']:9.0e}{job['float32_samples_beyond']:5}"
            if not job["difference"] <= TOLERANCE:
                line += f"  DIFFERS in {job['differs_most_in']}"
        lines.append(line)
    return "\n".join(lines)


def picture(report):
    left, width, row = 250, 420, 22
    parts, y = [], 10
    title = f"Time of one batch, in ordinary training steps ({report['where']}, median of {report['rounds']})"

    def text(x, y, content, more=""):
        parts.append(f'<text x="{x:.1f}" y="{y}" {more}>{html.escape(content)}</text>')

    text(10, y := y + 10, title, 'font-weight="bold"')
    for network, result in report["networks"].items():
        text(10, y := y + 34, f"{network}, {'×'.join(map(str, result['inputs']))}", 'font-weight="bold"')
        top = y + 8
        unit = width / max(job.get("ratio", 0) for job in result["jobs"].values())
        for method, job in result["jobs"].items():
            y += row
            text(left - 8, y, job["name"], 'text-anchor="end"')
            if "does_not_accept" in job:
                text(left + 6, y, f"does not accept: {job['does_not_accept'][:60]}", 'fill="#777"')
                continue
            length = unit * job["ratio"]
            color = "#c0392b" if job["name"].startswith("culprit") else "#999" if method in TRAINING else "#4a78a8"
            parts.append(f'<rect x="{left}" y="{y - 12}" width="{length:.1f}" height="16" fill="{color}"/>')
            text(left + length + 6, y, f"{job['ratio']:.2f}  ({job['median']:.0f} ms)")
        x = left + unit
        parts.append(f'<path d="M{x:.1f} {top}V{y + 8}" stroke="#000" stroke-dasharray="3 3"/>')
    size = f'width="{left + width + 150}" height="{y + 20}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(BATCHES), metavar="NETWORK[:BATCH]")
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of peer_job")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/peers"))
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="JOB",
        choices=[method for method in JOBS if method not in STEPS],
        help=f"leave a job out; without {REFERENCE} no profiles are compared",
    )
    options = parser.parse_args()
    networks = {}
    for argument in options.networks:
        name, _, batch = argument.partition(":")
        if name not in BATCHES:
            parser.error(f"{name}: none of {', '.join(BATCHES)}")
        networks[name] = int(batch or BATCHES[name])
    data = options.out / "data"
    data.mkdir(parents=True, exist_ok=True)
    packages = ("torch", "torchvision", "opacus", "backpack-for-pytorch")
    report = {
        "where": f"{options.threads} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device),
        "rounds": options.rounds,
        "threads": options.threads,
        "packages": {package: importlib.metadata.version(package) for package in packages},
        "networks": {},
    }
    agree = True
    for network, batch in networks.items():
        result = report["networks"][network] = measure(network, batch, options, data)
        print(table(network, result), flush=True)
        agree &= all(job.get("difference", 0) <= TOLERANCE for job in result["jobs"].values())
        (options.out / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.out / "peers.svg").write_text(picture(report))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
