// The state of one rendering: its limits, where its output goes, and what it has to clean up.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/template.h"

namespace ftd::jinja {

struct Activation;

// The arguments of a call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Runtime {
 public:
  Runtime(const Options& options, const Value& variables);
  // Cuts the cycles that namespaces, closures and loops may have made.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Counts work; fails when there was more than the limit.
  void Step(uint64_t steps = 1) {
    steps_ += steps;
    if (steps_ > options_.max_steps || steps_ < steps) FailSteps();
  }
  // Counts memory of values. Call it before the allocation when the size is the template's choice.
  void Allocate(uint64_t bytes);

  // Each counts what it makes.
  Value Text(std::string text);
  Value List(std::vector<Value> items);
  Value Tuple(std::vector<Value> items);
  // Requires: hashable keys.
  Value Dict(std::vector<std::pair<Value, Value>> items);
  // Fails when a value nests too deep or holds too much. Returns it.
  Value Checked(Value value);

  // Appends to the text, or to the capture that is under way.
  void Write(std::string_view text);
  // Sends the output into `capture` until the object is destroyed.
  class Capture {
   public:
    explicit Capture(Runtime& runtime) : runtime_(runtime), outer_(runtime.capture_) {
      runtime.capture_ = &text;
    }
    ~Capture() { runtime_.capture_ = outer_; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    std::string text;

   private:
    Runtime& runtime_;
    std::string* const outer_;
  };
  bool IsCaptured() const { return capture_ != nullptr; }
  size_t TextBytes() const { return rendered.text.size(); }

  // A level of recursion that the template chooses: calls of macros, recursive loops, iterators.
  class Level {
   public:
    explicit Level(Runtime& runtime) : runtime_(runtime) { runtime.Descend(); }
    ~Level() { --runtime_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Runtime& runtime_;
  };

  // Returns a variable of the caller's, or else a global; missing when there is none.
  Value Resolve(const std::string& name) const;
  // Returns which watched value this is, or nullopt.
  std::optional<size_t> WatchedIndex(const Value& value) const;

  // Will be emptied at the end. Each may hold itself.
  void Keep(std::shared_ptr<Activation> activation);
  void Keep(Value emptied_at_the_end) { kept_values_.push_back(std::move(emptied_at_the_end)); }

  const Options& options() const { return options_; }

  uint32_t at = 0;  // the byte of the source that is being rendered
  Rendered rendered;
  std::optional<size_t> generation_begin;  // of the outermost generation block around
  // Spans in code points of the text, of blocks inside captured output.
  std::vector<std::pair<size_t, size_t>> captured_generations;

 private:
  [[noreturn]] void FailSteps() const;
  void Descend();

  const Options& options_;
  const DictObject& variables_;
  absl::flat_hash_map<const Object*, size_t> watched_;
  std::string* capture_ = nullptr;
  uint64_t steps_ = 0;
  uint64_t allocated_ = 0;
  size_t written_ = 0;
  int level_ = 0;
  const char* const stack_;
  std::vector<std::shared_ptr<Activation>> kept_activations_;
  std::vector<Value> kept_values_;
};

// Returns an iterator over the value's elements; throws for what has none.
std::shared_ptr<IteratorObject> Iterate(Runtime& runtime, const Value& value);
// Returns all elements; throws as Iterate does.
std::vector<Value> ToVector(Runtime& runtime, const Value& value);

// Returns the key; throws if Python cannot hash it.
const Value& HashableKey(Runtime& runtime, const Value& key);

// Throws the error that the use of an undefined value is.
[[noreturn]] void FailUndefined(const Value& value);

// Returns bool(value).
bool IsTrue(Runtime& runtime, const Value& value);
// Returns len(value); nullopt for what has none.
std::optional<int64_t> LengthOf(const Value& value);

}  // namespace ftd::jinja
