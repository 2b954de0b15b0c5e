// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace culprit::cli::help {

inline constexpr std::string_view about =
    R"(Which filters are to blame for a model's mistakes? Parameter-space saliency after Levin, Shu, Borgnia,
Huang, Goldblum and Goldstein: Where do Models go Wrong? (NeurIPS 2022).

First fit a baseline over a hold-out set, then explain samples against it.)";

inline constexpr std::string_view exit_status =
    R"(Exit status: 0 done, 1 the run failed, 2 wrong usage. An error is one line on stderr; no half-written
file is left.)";

inline constexpr std::string_view fit =
    R"(Writes a safetensors file. Tensors: mean and std (F64 [units]), count (I64 [1]). Metadata: units (layers
with name, shape, first, count, size, uses, batch_norm), dead_units, fingerprint, model, data (spec,
samples, fingerprint, first, chosen), dtype, batch, seed, accuracy, right, skipped (if any). With
--standardize robust also quantile_keys, quantile_counts (I64 [buckets]) and quantile_ends (I64 [units]): how
many samples fell into which bucket of each unit. With --shard also moments_first, moments_batches,
moments_count (I64 [nodes]), moments_mean and moments_squares (F64 [nodes, units]): the sums of the part's
batches that culprit merge goes on with.

Beside it, in FILE.checkpoint, it keeps what it has so far: after Ctrl-C, a crash or a power cut the same
command goes on from there, and ends with the same bytes as a run that nothing stopped. A checkpoint of another
model, method, data set (names and labels), batch size, shard, ... is refused; --fresh starts over.

Started as several processes by torchrun, mpirun or srun (MASTER_ADDR and MASTER_PORT set) each fits a part of
the samples, and the first writes what one process would.

Example:
  culprit fit --model resnet20:resnet20_cifar10.safetensors --data folder:cifar10/test \
    --preset cifar10 --out baseline.safetensors)";

inline constexpr std::string_view merge =
    R"(The same file as culprit fit, or profile, writes without --shard, bit for bit. Parts of other models, methods
or data are refused, and so are parts that leave samples out or have one twice.

Example, each fit on a machine of its own:
  culprit fit --shard 0/2 --out part0.safetensors ...
  culprit fit --shard 1/2 --out part1.safetensors ...
  culprit merge part0.safetensors part1.safetensors --out baseline.safetensors)";

inline constexpr std::string_view profile =
    R"(Writes a safetensors file. Tensors: profile ([N, units], F32 or F64 as --dtype says), z (F64 [N, units],
with --baseline only), logits ([N, classes]), label and prediction (I64 [N]), loss (F64 [N]). Metadata:
paths (JSON, in the rows' order), units (as in a baseline), fingerprint, model, data, dtype, batch, seed,
standardization and baseline (a hash of the file; with z), right, skipped (if any).

With --out DIR it writes a folder of such files, each of up to 1,000 samples, and index.json, which lists
those that are whole: name, samples, bytes, checksum. After Ctrl-C, a crash or a power cut the same command
goes on behind them, to the same bytes. With --out FILE they lie in FILE.parts until they are joined.

Example:
  culprit profile --model model.pt --data list:images.tsv --preset imagenet \
    --baseline baseline.safetensors --limit 1000 --out profiles.safetensors)";

inline constexpr std::string_view explain =
    R"(Prints a table for each sample and writes, into DIR for one sample, else into a sub-folder for each:
  profile.csv        a row for each unit: unit, layer, channel, raw, mean, std, z (as --standardize says)
  profile.json       path, label, prediction, loss, classes (class, name, confidence; likeliest first),
                     top (the ten units to blame: rank, unit, layer, channel, raw, mean, std, z,
                     batch_norm), trials (the 1, 2, 5 and 10 most salient filters and 10 random ones
                     switched off; for a wrong sample the shortest of the steps 0.001, 0.002, 0.004, ... on
                     the 10 that corrects it, and as long a one on the random ones: intervention, selection,
                     k, eta, predicted_confidence in the class predicted before, true_confidence,
                     prediction), model, data, baseline (file, samples, accuracy on them), chosen_from
                     (samples, mistakes; null for --image), preprocessing, aggregation, standardization,
                     target, dtype, layers (as a baseline's units), dead_units, raw and z of all units, and
                     input_saliency (filters, boosted, with_z_above_0, boost, distance, value, noise_iters,
                     noise_std, scale)
  profile.svg        the profile, sorted within each layer (the paper's Figure 1)
  standardized.svg   the standardized profile, all layers of one width (Figure 2)
  input.png          what the model saw, before normalisation; small pictures enlarged
  heat_map.svg       the pixels that drive the filters of --filters: input_saliency.npy, clipped to its
                     90th and 99th percentile, smoothed, over the picture; the ends of the scale below
  input_saliency.npy the gradient of the distance between the profile and the boosted one with respect to
                     the normalised input, signed, C x H x W, in the run's dtype
  pixel_saliency.npy the largest of its channels' absolute values, H x W
  *.narrow.svg       the three figures for phones
and into DIR explain.html, one page with all of it.

Examples:
  culprit explain --model resnet20:resnet20_cifar10.safetensors --data folder:cifar10/test \
    --preset cifar10 --baseline baseline.safetensors --wrong 4 --out report
  culprit explain --model mobilenet_v1_025:mobilenet.safetensors --image shark.jpeg --label 2 \
    --preset imagenet --classes classes.txt --baseline baseline.safetensors --out report)";

inline constexpr std::string_view experiment =
    R"(Writes NAME.csv (the table), NAME.json (the table, and what it rests on) and pictures into DIR, and prints
the table. Changes are those of a class's confidence (softmax), as shares of 1; low and high are the ends of
a 95 % bootstrap interval of the mean over samples. --seed makes random choices, and makes them repeatable.
  correctness  mean profiles, raw and standardized, of right and of wrong samples, layer by layer (Figures 1
               and 2)
  neighbors    the k nearest wrong samples of every wrong sample, by the cosine of their standardized
               profiles: the share with the same, or the reversed, pair of true and predicted class, and that
               expected by chance; all layers, the shallower half, the deeper half
  finetune     one normalized step on the filters to blame for a wrong sample, on random ones, the least
               salient, and all (Figure 6), for a random half of the wrong samples: the share then right, and of
               the ten nearest of the other half the share then right and the change of confidence
  prune        every wrong sample with its K most salient filters switched off, K random ones, and its K
               least salient ones (the paper's Figure 3): change of the wrong and of the true class's
               confidence, and the share of samples then right
  mask         every wrong sample with the share of its pixels that is most salient by input saliency
               replaced by the data set's mean, and with as many random pixels replaced (Figures 7 and 8):
               changes and share corrected as above, the change of the mean z of the filters of --filters,
               and t and p of paired t-tests of the salient pixels against the random ones. Of the sample
               that is wrong with the most confidence mask-steps.svg shows every step, and
               mask-paste.csv and .svg what its most salient pixels do to other images of its true class

Examples:
  culprit experiment prune --model resnet20:resnet20_cifar10.safetensors --data folder:cifar10/test \
    --preset cifar10 --baseline baseline.safetensors --out results
  culprit experiment mask --model mobilenet_v1_025:mobilenet.safetensors --data list:images.tsv \
    --preset imagenet --baseline baseline.safetensors --boxes boxes.csv --shares 0.05,0.1 --out results)";

inline constexpr std::string_view report =
    R"(Writes one HTML page that holds everything it shows and asks for nothing: it opens from disk, also on a
phone. Of --explained the samples with their filters to blame, heat maps and what changing the filters does, of
--neighbors the pictures of the nearest neighbours, of --results every experiment with its figures; a click on
a column's head sorts a table.

Example:
  culprit report --explained explained --neighbors neighbours --results results --out report.html)";

inline constexpr std::string_view neighbors =
    R"(Prints a table for each query and writes into DIR:
  neighbors.csv      a row for each neighbour: query and sample (row numbers of the profiles, from 0), rank,
                     path, label, prediction, similarity (cosine), pair (same or reversed: true and
                     predicted class, as the query's)
  neighbors.json     profiles (the files), space, among, layers, k, queries (row, path, label, prediction,
                     confidence, and neighbors: as in neighbors.csv)
  neighbors.svg      with --data: the pictures, each query before its neighbours (the paper's Figure 5), and
                     neighbors.narrow.svg, the same for phones
The files are read where they lie, a block at a time: together they may be larger than memory.

Example, shallow layers only:
  culprit neighbors --profiles profiles.safetensors --queries wrong:5 --among wrong --layers up-to:layer1.2.conv2 \
    --data folder:cifar10/test --preset cifar10 --out neighbours)";

}  // namespace culprit::cli::help
