// SPDX-License-Identifier: MIT
#pragma once

#include <tuple>

#include "culprit/culprit.hpp"

// Every policy of every role: a new one enters its role's suite, and the product of all, by one line here.
namespace culprit::test {

using Aggregations = std::tuple<aggregate::MeanAbs,        //
                                aggregate::Mean,           //
                                aggregate::L2Norm,         //
                                aggregate::MaxAbs,         //
                                aggregate::MedianAbs,      //
                                aggregate::ParameterWise,  //
                                aggregate::TensorMean>;

using Standardizations = std::tuple<standardize::ZScore,     //
                                    standardize::MeanRatio,  //
                                    standardize::Identity,   //
                                    standardize::Robust>;

using Distances = std::tuple<distance::Cosine,     //
                             distance::Euclidean,  //
                             distance::Spearman>;

using Selections = std::tuple<select::Top,         //
                              select::Bottom,      //
                              select::Random,      //
                              select::Given,       //
                              select::Except,      //
                              select::LayerRange,  //
                              select::Within<select::Top, select::LayerRange>>;

using Interventions = std::tuple<intervene::Prune,       //
                                 intervene::FineTune<>,  //
                                 intervene::Mask>;

using Visitors = std::tuple<visit::ConvFilters,    //
                            visit::LinearNeurons,  //
                            visit::AllWeights,     //
                            visit::AttentionHeads>;

using Engines = std::tuple<engine::Batched,  //
                           engine::Loop>;

using Losses = std::tuple<loss::CrossEntropy,                    //
                          loss::AtTarget<loss::PredictedClass>,  //
                          loss::AtTarget<loss::GivenClass>>;

}  // namespace culprit::test
