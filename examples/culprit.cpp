// SPDX-License-Identifier: MIT
//
// The program culprit: which filters are to blame for a model's mistakes? This file has its options,
// cli/run.cpp what it does.

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <malloc.h>

#include "cli/help.hpp"
#include "cli/isolated.hpp"
#include "cli/options.hpp"
#include "cli/text.hpp"
#include "culprit/version.hpp"
#include "models/zoo.hpp"

namespace culprit::cli {
namespace {

/// The text in lines that fit behind the options' names.
std::string folded(std::string_view text) {
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

std::string joined(const std::vector<std::string>& names, std::string_view separator) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : std::string(separator)) + name;
  return text;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& architecture : zoo::architectures) names.emplace_back(architecture.name);
  return names;
}

CLI::Validator checked(const std::string& expected, const std::function<bool(const std::string&)>& accepts) {
  return CLI::Validator(
      [=](const std::string& text) {
        return accepts(text) ? std::string() : "expected " + expected + ", came '" + text + "'";
      },
      std::string());
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

CLI::Validator one_of(const std::vector<std::string>& names) {
  return checked("one of " + joined(names, ", "),
                 [=](const std::string& text) { return contains(names, text); });
}

bool is_index(const std::string& text) {
  return !text.empty() && text.size() <= 9 && std::all_of(text.begin(), text.end(), [](unsigned char symbol) {
    return std::isdigit(symbol) != 0;
  });
}

const CLI::Validator whole_number = checked("a whole number from 0", is_index);

bool is_above_zero(const std::string& text) {
  return is_index(text) && text.find_first_not_of('0') != std::string::npos;
}

const CLI::Validator above_zero = checked("a whole number from 1", is_above_zero);

/// The finite number that the whole text is.
std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

const CLI::Validator number_from_0 = checked("a number from 0", [](const std::string& text) {
  const std::optional<double> value = number(text);
  return value && *value >= 0;
});

const CLI::Validator number_above_0 = checked("a number above 0", [](const std::string& text) {
  const std::optional<double> value = number(text);
  return value && *value > 0;
});

const CLI::Validator share_of_pixels =
    checked("a share of all pixels, above 0 and up to 1", [](const std::string& text) {
      const std::optional<double> value = number(text);
      return value && *value > 0 && *value <= 1;
    });

const CLI::Validator data_spec =
    checked("folder:DIR, cifar10:DIR, idx:DIR or list:FILE", [](const std::string& text) {
      const std::string kind = text.substr(0, text.find(':'));
      return contains({"folder", "cifar10", "idx", "list"}, kind) && text.size() > kind.size() + 1;
    });

const CLI::Validator model_spec =
    checked("FILE.pt, or NAME:WEIGHTS.safetensors with NAME one of " + joined(model_names(), ", "),
            [](const std::string& text) {
              const std::string name = text.substr(0, text.find(':'));
              const bool known = contains(model_names(), name) && text.size() > name.size() + 1;
              return known || text.ends_with(".pt") || text.ends_with(".pth");
            });

const CLI::Validator target_spec = checked("label, predicted or a class index", [](const std::string& text) {
  return text == "label" || text == "predicted" || is_index(text);
});

const CLI::Validator query_spec =
    checked("wrong:N, or numbers of samples between commas", [](const std::string& text) {
      constexpr std::string_view wrong = "wrong:";
      if (text.starts_with(wrong)) return is_above_zero(text.substr(wrong.size()));
      std::istringstream items(text + ',');
      for (std::string item; std::getline(items, item, ',');) {
        if (!is_index(item)) return false;
      }
      return true;
    });

const CLI::Validator device_spec = checked("cpu, cuda or cuda:N", [](const std::string& text) {
  return text == "cpu" || text == "cuda" ||
         (text.starts_with("cuda:") && is_index(text.substr(5)) && text.size() < 8);
});

/// I and N of "I/N".
std::optional<std::pair<std::size_t, std::size_t>> shard_of(const std::string& text) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  const std::string shard = text.substr(0, slash), shards = text.substr(std::min(slash + 1, text.size()));
  if (!is_index(shard) || !is_above_zero(shards) || std::stoul(shard) >= std::stoul(shards))
    return std::nullopt;
  return std::pair(std::stoul(shard), std::stoul(shards));
}

const CLI::Validator shard_spec =
    checked("I/N with I from 0 to N - 1", [](const std::string& text) { return shard_of(text).has_value(); });

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

void add_model(CLI::App& command, Options& options) {
  Group(command, "Model and data")
      .add("--model", options.model, "NAME:WEIGHTS|FILE.pt",
           "a network by name with its weights (safetensors), or a TorchScript file in eval mode, which is a "
           "program (see --isolate); NAME: " +
               joined(model_names(), ", "))
      ->required()
      ->check(model_spec);
}

void add_data(CLI::App& command, Options& options) {
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

void add_image(CLI::App& command, Options& options) {
  Group group(command, "Model and data");
  auto* const image = group.add("--image", options.image, "FILE", "one JPEG or PNG instead of --data");
  auto* const label = group.add("--label", options.label, "K", "its true class")->check(whole_number);
  image->excludes(command.get_option("--data"))->needs(label);
  label->needs(image);
}

void add_preprocessing(CLI::App& command, Options& options) {
  Group group(command, "Preprocessing");
  group
      .add("--preset", options.preset, "NAME",
           joined(presets, ", ") + ": the settings that go with public weights, instead of the next four")
      ->check(one_of(presets));
  group
      .add("--resize", options.resize, "PIXELS",
           "length of the shorter side after bilinear resizing; 0 leaves it")
      ->check(whole_number);
  group.add("--crop", options.crop, "PIXELS", "side of the centre crop; 0 for none")->check(whole_number);
  group
      .add("--mean", options.mean, "M,...",
           "mean of each channel, of pixels from 0 to 1: one (grey) or three")
      ->delimiter(',')
      ->expected(1, 3);
  group.add("--std", options.std, "S,...", "deviation of each channel, as many")
      ->delimiter(',')
      ->expected(1, 3);
}

void add_method(CLI::App& command, Options& options) {
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

void add_standardize(CLI::App& command, Options& options) {
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
void add_heat_map(CLI::App& command, Options& options, const std::string& name) {
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

void add_experiment(CLI::App& command, Options& options) {
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

void add_run(CLI::App& command, Options& options) {
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

void add_shard(CLI::App& command, Options& options) {
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
void add_non_finite(CLI::App& command, Options& options, const std::vector<std::string>& names) {
  Group(command, "Run")
      .add("--non-finite", options.non_finite, "NAME",
           "what becomes of a sample with NaN or infinity in its gradients: " + joined(names, ", ") +
               " (default " + names.front() + "); skipped ones are counted")
      ->check(one_of(names));
}

void add_search(CLI::App& command, Options& options) {
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
CLI::App& add_command(CLI::App& app, Options& options, Command command, const std::string& name,
                      const std::string& description, std::string_view footer) {
  CLI::App& added = *app.add_subcommand(name, description);
  added.callback([&options, command] { options.command = command; });
  added.footer("\n" + std::string(footer) + "\n\n" + std::string(help::exit_status));
  added.get_formatter()->column_width(30);
  return added;
}

/// Declares the commands and their options, each with its help; parsing fills `options`.
void declare(CLI::App& app, Options& options) {
  app.name("culprit");
  app.description(std::string(help::about));
  app.footer("\nculprit COMMAND --help tells about a command, with an example.\n\n" +
             std::string(help::exit_status));
  app.set_version_flag("--version", "culprit " + std::string(version));
  app.require_subcommand(1);

  CLI::App& fit = add_command(app, options, Command::fit, "fit",
                              "Mean and deviation of every filter's saliency over a data set", help::fit);
  CLI::App& merge = add_command(app, options, Command::merge, "merge",
                                "One result of those of a data set's shards", help::merge);
  CLI::App& profile = add_command(app, options, Command::profile, "profile",
                                  "The saliency of every filter for every sample", help::profile);
  CLI::App& explain =
      add_command(app, options, Command::explain, "explain",
                  "The filters to blame for single samples: table, figures, page", help::explain);
  CLI::App& experiment =
      add_command(app, options, Command::experiment, "experiment",
                  "The paper's experiments on a whole data set: tables and figures", help::experiment);
  CLI::App& neighbors =
      add_command(app, options, Command::neighbors, "neighbors",
                  "The samples with the same filters to blame: table, contact sheet", help::neighbors);
  CLI::App& report = add_command(app, options, Command::report, "report",
                                 "One page of what explain, neighbors and experiment wrote", help::report);
  for (CLI::App* command : {&fit, &profile, &explain, &experiment}) add_model(*command, options);
  for (CLI::App* command : {&fit, &profile, &explain, &experiment, &neighbors}) add_data(*command, options);
  for (CLI::App* command : {&fit, &experiment}) command->get_option("--data")->required();
  for (CLI::App* command : {&profile, &explain}) add_image(*command, options);
  for (CLI::App* command : {&fit, &profile, &explain, &experiment}) {
    add_preprocessing(*command, options);
    add_method(*command, options);
    add_standardize(*command, options);
  }
  add_heat_map(explain, options, "Heat map");
  explain.add_flag("--shared-scale", options.shared_scale, "one scale for the heat maps of all samples")
      ->group("Heat map");
  add_experiment(experiment, options);
  add_heat_map(experiment, options, "Heat map of the experiment mask");
  for (CLI::App* command : {&fit, &profile, &explain, &experiment}) add_run(*command, options);

  for (CLI::App* command : {&fit, &profile}) add_shard(*command, options);
  add_non_finite(fit, options, {"refuse", "skip"});
  add_non_finite(profile, options, non_finites);
  for (CLI::App* command : {&fit, &profile, &experiment}) {
    command->add_flag("--fresh", options.fresh, "do not go on with what an earlier run left")->group("Run");
  }

  Group(fit, "Result").add("--out", options.out, "FILE", "the baseline to write")->required();

  Group of_merge(merge, "Result");
  of_merge.add("PART", options.parts, "", "what culprit fit, or profile, --shard wrote, in any order")
      ->required()
      ->expected(1, CLI::detail::expected_max_vector_size);
  of_merge.add("--out", options.out, "FILE", "the baseline, or the profiles, to write")->required();

  Group of_profile(profile, "Result");
  of_profile.add("--baseline", options.baseline, "FILE", "what culprit fit wrote: adds z");
  of_profile
      .add("--store-dtype", options.store_dtype, "TYPE",
           "of profile and z in the result: " + joined(store_dtypes, ", ") +
               "; without it profile is in --dtype and z in float64")
      ->check(one_of(store_dtypes));
  of_profile
      .add("--out", options.out, "FILE|DIR",
           "the profiles to write: FILE.safetensors, or a folder of such files with an index")
      ->required();

  Group of_experiment(experiment, "Result");
  of_experiment.add("--baseline", options.baseline, "FILE", "what culprit fit wrote")->required();
  of_experiment.add("--out", options.out, "DIR", "the folder to write into; made if it is not there")
      ->required();

  Group of_explain(explain, "Result");
  of_explain
      .add("--wrong", options.wrong, "N",
           "with --data: how many of the most confidently wrong samples to explain (default " +
               std::to_string(options.wrong) + ")")
      ->check(above_zero)
      ->excludes(explain.get_option("--image"));
  of_explain.add("--baseline", options.baseline, "FILE", "what culprit fit wrote")->required();
  of_explain.add("--out", options.out, "DIR", "the folder to write into; made if it is not there")
      ->required();

  Group of_report(report, "Result");
  of_report.add("--explained", options.explained, "DIR", "a folder that culprit explain wrote");
  of_report.add("--neighbors", options.neighbors, "DIR", "a folder that culprit neighbors wrote");
  of_report.add("--results", options.results, "DIR", "a folder that culprit experiment wrote");
  of_report.add("--out", options.out, "FILE", "the page to write")->required();

  add_preprocessing(neighbors, options);
  add_search(neighbors, options);
  Group(neighbors, "Result")
      .add("--out", options.out, "DIR", "the folder to write into; made if it is not there")
      ->required();
}

/// What concerns several options at once.
/// @throws CLI::ParseError for options that contradict each other, or lack each other
void check_usage(const Options& options) {
  const auto refuse = [](const std::string& message) {
    throw CLI::ValidationError(message, CLI::ExitCodes::ValidationError);
  };
  if (options.command == Command::report) {
    if (options.explained.empty() && options.neighbors.empty() && options.results.empty())
      refuse("--explained, --neighbors or --results is required");
    return;
  }
  if (options.command == Command::merge) return;
  if (options.command == Command::neighbors && options.data.empty()) return;  // no pictures are shown
  if (options.data.empty() && options.image.empty()) refuse("--data or --image with --label is required");
  const bool by_hand =
      options.resize > 0 || options.crop > 0 || !options.mean.empty() || !options.std.empty();
  if (!options.preset.empty() && by_hand) refuse("--preset excludes --resize, --crop, --mean and --std");
  if (options.preset.empty() && (options.mean.empty() || options.std.empty())) {
    refuse("--preset, or --mean and --std (and --resize, --crop), is required");
  }
  if ((options.noise_iters > 0) != (options.noise_std > 0)) {
    refuse("--noise-iters and --noise-std need each other");
  }
  if (options.mean.size() != options.std.size()) refuse("--mean and --std need as many values as each other");
}

/// The exit status of what is done; what it throws is one line on stderr.
int status_of(const std::function<int()>& work) {
  try {
    return work();
  } catch (...) {
    std::fprintf(stderr, "culprit: error: %s\n", message_of_current_exception().c_str());
    return 1;
  }
}

}  // namespace
}  // namespace culprit::cli

int main(int argc, char** argv) {
  using namespace culprit::cli;
  // Each batch needs the memory of the one before: to give it back in between and have the system fill it
  // with zeros again took a fifth of a run.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  CLI::App app;
  Options options;
  declare(app, options);
  try {
    app.parse(argc, argv);
    check_usage(options);
  } catch (const CLI::Success& answer) {  // --help, --version
    return app.exit(answer);
  } catch (const CLI::ParseError& error) {
    std::string command = "culprit";
    for (const CLI::App* chosen : app.get_subcommands()) command += ' ' + chosen->get_name();
    std::fprintf(stderr, "culprit: error: %s (see %s --help)\n", one_line(error.what()).c_str(),
                 command.c_str());
    return 2;
  }
  const auto command = [&] {
    return status_of([&] {
      run(options);
      return 0;
    });
  };
  return options.isolate ? status_of([&] { return run_isolated(options, command); }) : command();
}
