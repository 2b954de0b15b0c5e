// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"

namespace culprit {

using Index = std::int64_t;  ///< numbers, counts and extents of tensors

/// One parameter tensor whose parts are units, and what the data flow tells about it.
struct Layer {
  std::string name;          ///< the parameter's name in named_parameters(), e.g. "layer1.0.conv1.weight"
  std::vector<Index> shape;  ///< the parameter's shape
  Index count = 0;           ///< number of units in this layer
  Index size = 0;            ///< parameters in each unit, |a_k| of Eq. 1
  Index first = 0;           ///< number of the layer's first unit; set by Units
  std::string
      batch_norm;  ///< module whose batch norm reads this layer's output directly; empty: none, or not traced
  Index uses = -1;  ///< how often one forward pass uses the parameter; -1: not traced

  /// One past the number of the layer's last unit.
  [[nodiscard]] Index end() const noexcept { return first + count; }
};

/// One group of parameters: a filter, a neuron, a whole tensor or one parameter.
struct Unit {
  Index index;    ///< position in the profile
  Index layer;    ///< index into Units::layers()
  Index channel;  ///< index within the layer
  Index size;     ///< number of parameters
};

/// The units of a model in profile order: layers in named_parameters() order, units consecutive within each.
class Units {
 public:
  Units() = default;

  /// @throws Error (argument) for a layer without units or parameters, for a name that comes twice, and for
  /// more units than an Index counts.
  explicit Units(std::vector<Layer> layers) : layers_(std::move(layers)) {
    std::set<std::string_view> names;
    for (Layer& layer : layers_) {
      if (layer.count <= 0 || layer.size <= 0) {
        throw Error(ErrorCode::argument, layer.name, "at least one unit of at least one parameter",
                    std::to_string(layer.count) + " units of " + std::to_string(layer.size));
      }
      if (layer.count > std::numeric_limits<Index>::max() - size_) {
        throw Error(ErrorCode::argument, layer.name, "a number of units that an index can count",
                    std::to_string(layer.count) + " more than " + std::to_string(size_));
      }
      if (!names.insert(layer.name).second) {
        throw Error(ErrorCode::argument, layer.name, "each parameter once", "the same name twice");
      }
      layer.first = size_;
      size_ += layer.count;
    }
  }

  [[nodiscard]] Index size() const noexcept { return size_; }  ///< number of units
  /// In named_parameters() order.
  [[nodiscard]] const std::vector<Layer>& layers() const noexcept { return layers_; }

  /// @throws Error (argument) when index is not in [0, size()).
  [[nodiscard]] Unit unit(Index index) const {
    if (index < 0 || index >= size_) {
      throw Error(ErrorCode::argument, "unit", "an index below " + std::to_string(size_),
                  std::to_string(index));
    }
    const auto after = std::upper_bound(layers_.begin(), layers_.end(), index,
                                        [](Index i, const Layer& layer) { return i < layer.first; });
    const auto layer = std::prev(after);
    return {index, std::distance(layers_.begin(), layer), index - layer->first, layer->size};
  }

  /// The layer of that parameter, null when there is none.
  /// @param name  with or without its last ".weight"; where both "a" and "a.weight" are layers, "a" is the
  /// first
  [[nodiscard]] const Layer* find(std::string_view name) const {
    constexpr std::string_view suffix = ".weight";
    const Layer* without_suffix = nullptr;
    for (const Layer& layer : layers_) {
      const std::string_view own = layer.name;
      if (own == name) return &layer;
      if (own.size() == name.size() + suffix.size() && own.starts_with(name) && own.ends_with(suffix))
        without_suffix = &layer;
    }
    return without_suffix;
  }

  /// The same, never null. @throws Error (argument) when there is no layer of that parameter.
  [[nodiscard]] const Layer& layer(std::string_view name) const {
    if (const Layer* const found = find(name)) return *found;
    throw Error(ErrorCode::argument, std::string(name), "the name of a layer with units", "an unknown name");
  }

  /// Position in the profile of a layer's unit: what unit() takes.
  /// @param name  as for find() @param channel  within the layer, from 0 to below Layer::count
  /// @throws Error (argument) when there is no layer of that parameter, or no such channel in it.
  [[nodiscard]] Index index(std::string_view name, Index channel) const {
    const Layer& of = layer(name);
    if (channel < 0 || channel >= of.count) {
      throw Error(ErrorCode::argument, of.name, "a channel below " + std::to_string(of.count),
                  std::to_string(channel));
    }
    return of.first + channel;
  }

  /// The first difference to `other` in words, empty when names, shapes and counts agree.
  [[nodiscard]] std::string difference(const Units& other) const {
    if (layers_.size() != other.layers_.size()) {
      return std::to_string(layers_.size()) + " layers against " + std::to_string(other.layers_.size());
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      std::string found = difference(layers_[i], other.layers_[i]);
      if (!found.empty()) return found;
    }
    return {};
  }

  /// The same of two layers.
  [[nodiscard]] static std::string difference(const Layer& a, const Layer& b) {
    if (a.name != b.name) return "layer " + a.name + " against " + b.name;
    if (a.shape != b.shape) return "shape of " + a.name;
    if (a.count != b.count) {
      return a.name + " has " + std::to_string(a.count) + " units against " + std::to_string(b.count);
    }
    return {};
  }

 private:
  std::vector<Layer> layers_;
  Index size_ = 0;
};

}  // namespace culprit
