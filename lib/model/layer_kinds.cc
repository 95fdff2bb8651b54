#include "lib/model/layer_kinds.h"

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/model/config_json.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

// Returns sliding_window: of the config class where the field is absent, 0 where it is null.
absl::StatusOr<int64_t> ReadWindow(const Json& json, int64_t fallback) {
  if (json.contains("sliding_window") && json.at("sliding_window").is_null()) return 0;
  if (!json.contains("sliding_window")) return fallback;
  int64_t window = 0;
  FTD_RETURN_IF_ERROR(ReadSize(json, "sliding_window", 0, &window));
  return window;
}

constexpr char kFull[] = "full_attention", kSliding[] = "sliding_attention",
               kLinear[] = "linear_attention";

// Returns whether each layer is of the type `wanted` and not of full attention: as layer_types
// says, or else as `by_default` does.
absl::StatusOr<std::vector<bool>> ReadLayerTypes(const Json& json, const char* wanted,
                                                 int64_t layers,
                                                 const std::function<bool(int64_t)>& by_default) {
  std::vector<bool> found;
  const Json* types = FindField(json, "layer_types");
  if (types == nullptr) {
    for (int64_t i = 0; i < layers; ++i) found.push_back(by_default(i));
    return found;
  }
  if (!types->is_array() || static_cast<int64_t>(types->size()) != layers) {
    return ConfigCorrupt(
        absl::StrCat("layer_types must be a list of num_hidden_layers (", layers, ") entries"));
  }
  for (const Json& type : *types) {
    if (type != kFull && type != wanted) {
      return ConfigUnsupported(absl::StrCat("layer_types has ", type.dump(), "; supported are ",
                                            kFull, " and ", wanted));
    }
    found.push_back(type == wanted);
  }
  return found;
}

// Returns kinds of full attention, of which those that `sliding` marks get the window. A layer that
// is to have one needs it set, in transformers too.
absl::StatusOr<std::vector<LayerKind>> WithWindows(std::vector<LayerKind> kinds,
                                                   const std::vector<bool>& sliding, int64_t window,
                                                   bool local_rope) {
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (!sliding[i]) continue;
    if (window == 0) {
      return ConfigCorrupt(
          absl::StrCat("layer ", i, " has sliding attention, but sliding_window is not set"));
    }
    kinds[i].window = window;
    kinds[i].local_rope = local_rope;
  }
  return kinds;
}

// gemma2, gemma3_text, olmo3.
absl::StatusOr<std::vector<LayerKind>> ByLayerTypes(const Json& json, const LayerDefaults& defaults,
                                                    int64_t layers) {
  FTD_ASSIGN_OR_RETURN(const int64_t window, ReadWindow(json, defaults.window));
  int64_t period = defaults.period;
  if (defaults.period_field != nullptr)
    FTD_RETURN_IF_ERROR(ReadSize(json, defaults.period_field, period, &period));
  FTD_ASSIGN_OR_RETURN(
      const std::vector<bool> sliding,
      ReadLayerTypes(json, kSliding, layers, [&](int64_t i) { return (i + 1) % period != 0; }));
  return WithWindows(std::vector<LayerKind>(layers), sliding, window, defaults.local_rope);
}

absl::StatusOr<std::vector<LayerKind>> OfQwen(const Json& json, const LayerDefaults& defaults,
                                              int64_t layers) {
  FTD_ASSIGN_OR_RETURN(int64_t window, ReadWindow(json, defaults.window));
  bool uses = false;
  FTD_RETURN_IF_ERROR(ReadFlag(json, "use_sliding_window", &uses));
  if (!uses) window = 0;
  const int64_t first = IntegerOr(json, "max_window_layers", 28);
  FTD_ASSIGN_OR_RETURN(
      const std::vector<bool> sliding,
      ReadLayerTypes(json, kSliding, layers, [&](int64_t i) { return window > 0 && i >= first; }));
  return WithWindows(std::vector<LayerKind>(layers), sliding, window, /*local_rope=*/false);
}

// smollm3: no_rope_layers has 1 for a layer that rotates.
absl::StatusOr<std::vector<LayerKind>> RotatingLayers(const Json& json,
                                                      const LayerDefaults& defaults,
                                                      int64_t layers) {
  std::vector<LayerKind> kinds(layers);
  const Json* list = FindField(json, "no_rope_layers");
  int64_t every = defaults.unrotated_every;
  FTD_RETURN_IF_ERROR(ReadSize(json, "no_rope_layer_interval", every, &every));
  if (list != nullptr && (!list->is_array() || static_cast<int64_t>(list->size()) != layers)) {
    return ConfigCorrupt(
        absl::StrCat("no_rope_layers must be a list of num_hidden_layers (", layers, ") entries"));
  }
  for (int64_t i = 0; i < layers; ++i) {
    if (list == nullptr) {
      kinds[i].rotates = (i + 1) % every != 0;
      continue;
    }
    const Json& entry = (*list)[i];
    if (!entry.is_number_integer()) {
      return ConfigCorrupt(
          absl::StrCat("no_rope_layers has ", entry.dump(), "; it must be 0 or 1"));
    }
    kinds[i].rotates = entry != 0;
  }
  return kinds;
}

absl::StatusOr<std::vector<LayerKind>> WithoutRope(const Json& json, const LayerDefaults& defaults,
                                                   int64_t layers) {
  FTD_ASSIGN_OR_RETURN(std::vector<LayerKind> kinds, RotatingLayers(json, defaults, layers));
  FTD_ASSIGN_OR_RETURN(int64_t window, ReadWindow(json, defaults.window));
  bool uses = false;
  FTD_RETURN_IF_ERROR(ReadFlag(json, "use_sliding_window", &uses));
  if (!uses) window = 0;
  FTD_ASSIGN_OR_RETURN(const std::vector<bool> sliding,
                       ReadLayerTypes(json, kSliding, layers,
                                      [&](int64_t i) { return window > 0 && !kinds[i].rotates; }));
  return WithWindows(std::move(kinds), sliding, window, /*local_rope=*/false);
}

// qwen3_5_text. Nothing but full attention has positions.
absl::StatusOr<std::vector<LayerKind>> WithDelta(const Json& json, const LayerDefaults& defaults,
                                                 int64_t layers) {
  int64_t period = defaults.period;
  FTD_RETURN_IF_ERROR(ReadSize(json, defaults.period_field, period, &period));
  FTD_ASSIGN_OR_RETURN(
      const std::vector<bool> delta,
      ReadLayerTypes(json, kLinear, layers, [&](int64_t i) { return (i + 1) % period != 0; }));
  std::vector<LayerKind> kinds(layers);
  for (int64_t i = 0; i < layers; ++i) {
    if (delta[i]) kinds[i] = {.rotates = false, .delta = true};
  }
  return kinds;
}

}  // namespace

absl::StatusOr<std::vector<LayerKind>> ReadLayerKinds(const Json& json,
                                                      const LayerDefaults& defaults,
                                                      int64_t num_hidden_layers) {
  switch (defaults.rule) {
    case WindowRule::kNone:
      return std::vector<LayerKind>(1);
    case WindowRule::kAll: {
      FTD_ASSIGN_OR_RETURN(const int64_t window, ReadWindow(json, defaults.window));
      return std::vector<LayerKind>{LayerKind{.window = window}};
    }
    case WindowRule::kLayerTypes:
      return ByLayerTypes(json, defaults, num_hidden_layers);
    case WindowRule::kQwen:
      return OfQwen(json, defaults, num_hidden_layers);
    case WindowRule::kWithoutRope:
      return WithoutRope(json, defaults, num_hidden_layers);
    case WindowRule::kDelta:
      return WithDelta(json, defaults, num_hidden_layers);
  }
  return std::vector<LayerKind>(1);
}

}  // namespace ftd
