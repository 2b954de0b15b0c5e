// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/help.hpp"
#include "cli/options.hpp"
#include "cli/validators.hpp"

// The options that commands have in common, each with its help; parsing fills Options.
namespace culprit::cli {

/// The text in lines that fit behind the options' names.
inline std::string folded(std::string_view text) {
  constexpr std::size_t room = 84;
  std::string lines;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (column > 0 && column + 1 + word.size() > room) {
      lines += '\n';
      column = 0;
    } else if (column > 0) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
  }
  return lines;
}

/// Adds the options of one group, with folded help.
class Group {
 public:
  Group(CLI::App& command, std::string name) : command_(command), name_(std::move(name)) {}

  template <class Value>
  CLI::Option* add(const std::string& option, Value& value, const std::string& type, std::string_view help) {
    return command_.add_option(option, value, folded(help))->type_name(type)->group(name_);
  }

 private:
  CLI::App& command_;
  std::string name_;
};

inline void add_model(CLI::App& command, Options& options) {
  Group(command, "Model and data")
      .add("--model", options.model, "NAME:WEIGHTS|FILE.pt",
           "a network by name with its weights (safetensors), or a TorchScript file in eval mode, which is a "
           "program (see --isolate); NAME: " +
               joined(model_names(), ", "))
      ->required()
      ->check(model_spec);
}

inline void add_data(CLI::App& command, Options& options) {
  Group group(command, "Model and data");
  group
      .add("--data", options.data, "KIND:PLACE",
           "folder:DIR, pictures in a sub-folder for each class; cifar10:DIR, CIFAR-10's binary batches, and "
           "idx:DIR, "
           "MNIST-like files, each the test set or, with #train behind DIR, the training set; list:FILE, "
           "lines: path, TAB, label, within its folder or, with #ROOT behind FILE, the folder ROOT")
      ->check(data_spec);
  group.add("--classes", options.classes, "FILE",
            "lines 'index name...': class names and, for folder:, a sub-folder's label is the index of the "
            "line whose "
            "first name its own name starts with; without it, its place among the sorted sub-folders");
}

inline void add_image(CLI::App& command, Options& options) {
  Group group(command, "Model and data");
  auto* const image = group.add("--image", options.image, "FILE", "one JPEG or PNG instead of --data");
  auto* const label = group.add("--label", options.label, "K", "its true class")->check(whole_number);
  image->excludes(command.get_option("--data"))->needs(label);
  label->needs(image);
}

inline void add_preprocessing(CLI::App& command, Options& options) {
  Group group(command, "Preprocessing");
  group
      .add("--preset", options.preset, "NAME",
           joined(presets, ", ") + ": the settings that go with public weights, instead of the next four")
      ->check(one_of(presets));
  group
      .add("--resize", options.resize, "PIXELS",
           "length of the shorter side after bilinear resizing; 0, the default, leaves it")
      ->check(whole_number);
  group.add("--crop", options.crop, "PIXELS", "side of the centre crop; 0, the default, for none")
      ->check(whole_number);
  group
      .add("--mean", options.mean, "M,...",
           "mean of each channel, of pixels from 0 to 1: one (grey) or three")
      ->delimiter(',')
      ->expected(1, 3);
  group.add("--std", options.std, "S,...", "deviation of each channel, as many")
      ->delimiter(',')
      ->expected(1, 3);
}

inline void add_method(CLI::App& command, Options& options) {
  Group group(command, "Method");
  group
      .add("--target", options.target, "CLASS",
           "class of the loss: label, the true one (default); predicted, what the model says; or an index")
      ->check(target_spec);
  group
      .add("--aggregate", options.aggregate, "NAME",
           "how the gradients of a filter become one number: " + joined(aggregations, ", ") + " (default " +
               aggregations.front() + ")")
      ->check(one_of(aggregations));
  group
      .add("--engine", options.engine, "NAME",
           "batched, many samples at once (default), or loop, one by one: the reference")
      ->check(one_of(engines));
}

inline void add_units(CLI::App& command, Options& options) {
  Group(command, "Method")
      .add("--units", options.units, "WHICH",
           "what counts as a filter, the same as the baseline was fitted with: filters of 2-D convolutions "
           "(default); neurons, the rows of 2-D weights; weights, both of these and the filters of other "
           "convolutions, as for a transformer; or heads:N, the queries, then the keys, then the values of "
           "each head of attentions that have N, a channel each")
      ->check(units_spec);
}

inline void add_standardize(CLI::App& command, Options& options) {
  Group group(command, "Method");
  group
      .add("--standardize", options.standardize, "NAME",
           "how a raw number is set against the baseline: " + joined(standardizations, ", ") + " (default " +
               standardizations.front() + "); robust, by median and MAD, needs a baseline fitted with it")
      ->check(one_of(standardizations));
  group.add("--layers", options.layers, "RANGE",
            "compute these layers only: up-to:NAME, after:NAME, FIRST-LAST (numbers from 0), or a pattern of "
            "names such as 'layer3.*'; a baseline of more layers serves");
}

/// @param name  of the group, which says what the heat map is for
inline void add_heat_map(CLI::App& command, Options& options, const std::string& name) {
  Group group(command, name);
  group.add("--filters", options.filters, "WHICH",
            "whose pixels to show: top:K, the most salient (default " + options.filters +
                "); random:K, by --seed, as a control; or LAYER:CHANNEL and numbers of units between commas");
  group.add("--boost", options.boost, "FACTOR", "what their z is multiplied by (default 100)")
      ->check(number_from_0);
  group
      .add("--distance", options.distance, "NAME",
           "of the profile from the boosted one: " + joined(distances, ", ") + " (default " +
               distances.front() + ")")
      ->check(one_of(distances));
  group.add("--noise-iters", options.noise_iters, "N", "average over N noisy inputs, drawn by --seed")
      ->check(whole_number);
  group.add("--noise-std", options.noise_std, "S", "deviation of the noise, in units of the model's input")
      ->check(number_from_0);
  group.add("--colors", options.colors, "NAME", joined(colour_maps, " (default) or "))
      ->check(one_of(colour_maps));
}

inline void add_experiment(CLI::App& command, Options& options) {
  Group group(command, "Experiment");
  group.add("NAME", options.experiment, "", joined(experiments, ", "))
      ->required()
      ->check(one_of(experiments));
  group
      .add("--sizes", options.sizes, "K,...",
           "prune, finetune: how many filters (default 1 to 100; 1 to 10 % of all)")
      ->delimiter(',')
      ->check(above_zero);
  group
      .add("--eta", options.eta, "LENGTH",
           "finetune: length of the step; without it one is chosen, and the result says how")
      ->check(number_above_0);
  group
      .add("--repeats", options.repeats, "N",
           "random choices on each sample, whose mean counts (default " + std::to_string(options.repeats) +
               ")")
      ->check(above_zero);
  group
      .add("--shares", options.shares, "Q,...",
           "mask: which shares of all pixels are replaced (default 0.01 to 0.2)")
      ->delimiter(',')
      ->check(share_of_pixels);
  group.add("--boxes", options.boxes, "FILE",
            "mask: CSV with the columns path,top,left,bottom,right; these boxes, in pixels of the model's "
            "input, bottom and right not included, stay untouched, such as the object itself");
  group
      .add("--paste", options.paste, "N",
           "mask: on how many other images the salient pixels of one are pasted (default " +
               std::to_string(options.paste) + "; 0: none)")
      ->check(whole_number);
}

inline void add_run(CLI::App& command, Options& options) {
  Group group(command, "Run");
  group
      .add("--batch", options.batch, "N",
           "samples in a batch (default " + std::to_string(options.batch) + ")")
      ->check(above_zero);
  group
      .add("--workers", options.workers, "N",
           "threads that each compute a batch (fit, profile) or a share of one (explain, experiment), with "
           "as much "
           "memory as a training step of one takes (default: one for each processor)")
      ->check(above_zero);
  group.add("--limit", options.limit, "N", "use the first N samples; with --seed, N drawn at random")
      ->check(above_zero);
  group.add("--seed", options.seed, "S", "makes random choices, and makes them repeatable")
      ->check(whole_number);
  group
      .add("--dtype", options.dtype, "TYPE",
           "what the model computes in: " + joined(dtypes, ", ") + " (default " + dtypes.front() + ")")
      ->check(one_of(dtypes));
  group.add("--device", options.device, "DEVICE", "where: cpu (default), cuda or cuda:N")->check(device_spec);
  auto* const isolate =
      command
          .add_flag(
              "--isolate", options.isolate,
              folded("for a stranger's TorchScript file: load and run it in a child process, whose crash, or "
                     "want of more memory than is free, is an error here; it keeps nobody from reading your "
                     "files or using the network"))
          ->group("Run");
  group.add("--time-limit", options.time_limit, "SECONDS", "how long the child of --isolate may take")
      ->check(above_zero)
      ->needs(isolate);
}

inline void add_shard(CLI::App& command, Options& options) {
  command
      .add_option_function<std::string>(
          "--shard",
          [&options](const std::string& text) { std::tie(options.shard, options.shards) = *shard_of(text); },
          folded(
              "of the batches part I of N, counted from 0, such as the index of a job in an array of jobs"))
      ->type_name("I/N")
      ->group("Run")
      ->check(shard_spec);
}

/// @param names  of what the command can do
inline void add_non_finite(CLI::App& command, Options& options, const std::vector<std::string>& names) {
  Group(command, "Run")
      .add("--non-finite", options.non_finite, "NAME",
           "what becomes of a sample with NaN or infinity in its gradients: " + joined(names, ", ") +
               " (default " + names.front() + "); skipped ones are counted")
      ->check(one_of(names));
}

inline void add_search(CLI::App& command, Options& options) {
  Group group(command, "Search");
  group
      .add("--profiles", options.profiles, "FILE",
           "what culprit profile wrote, with --baseline for z; several files, or folders of them, of one "
           "model "
           "are searched as one")
      ->required()
      ->expected(1, CLI::detail::expected_max_vector_size);
  group
      .add("--queries", options.queries, "WHICH",
           "whose neighbours: wrong:N, the N most confidently wrong samples (default " + options.queries +
               "), or numbers of samples, the rows of the profiles from 0, between commas")
      ->check(query_spec);
  group.add("--k", options.k, "K", "neighbours of each (default " + std::to_string(options.k) + ")")
      ->check(above_zero);
  group
      .add("--among", options.among, "WHICH",
           "which samples are searched: " + joined(amongs, " (default) or ") +
               ", those the model is wrong about")
      ->check(one_of(amongs));
  group.add("--layers", options.layers, "RANGE",
            "whose filters count: up-to:NAME, after:NAME, FIRST-LAST (numbers from 0), or a pattern of names "
            "such as 'layer3.*'");
  group
      .add("--space", options.space, "NAME",
           "what is compared: " + joined(spaces, " (default), or ") + ", the profiles before standardization")
      ->check(one_of(spaces));
}

/// A command without options.
inline CLI::App& add_command(CLI::App& app, Options& options, Command command, const std::string& name,
                             const std::string& description, std::string_view footer) {
  CLI::App& added = *app.add_subcommand(name, description);
  added.callback([&options, command] { options.command = command; });
  added.footer("\n" + std::string(footer) + "\n\n" + std::string(help::exit_status));
  added.get_formatter()->column_width(30);
  return added;
}

}  // namespace culprit::cli
