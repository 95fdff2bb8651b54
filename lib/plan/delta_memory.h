// The memory that a layer's gated delta rule takes: a replay of what ops/delta allocates and frees,
// in its order, as step_memory.h has it of everything else.
#pragma once

#include <cstdint>

#include "lib/plan/step_memory.h"
#include "lib/plan/tally.h"

namespace ftd {

// DeltaSaved.
struct DeltaHeld {
  Held out, rstd;
};

// Functions have the names of what they replay.
class DeltaReplay {
 public:
  struct Step {
    int64_t tokens, element;  // of the micro-batch; bytes of a number in the compute dtype
    bool full;                // the weights train
  };

  // `tally` outlives the replay.
  DeltaReplay(const DeltaLayers& layers, const Step& step, Tally& tally);

  Held Forward(DeltaHeld& saved);
  Held Output();
  Held Backward();

 private:
  struct Gates {
    Held g, beta;
  };
  struct Input {
    Held q, k, v, g, beta, q_scale, k_scale;
  };
  struct Within {
    Held growth, to_end, between, similarity, system, attention, solved, query, key;
  };
  struct Across {  // also AcrossGradients
    Held states, written;
  };
  // Numbers of the tensors of a block of heads.
  struct Block {
    int64_t heads = 0;      // of keys
    int64_t key_rows = 0;   // a number a token and key head
    int64_t rows = 0;       // a number a token and value head
    int64_t keys = 0;       // a key, or a query, a token and key head
    int64_t shared = 0;     // a key a token and value head
    int64_t values = 0;     // a value a token and value head
    int64_t key_pairs = 0;  // of the tokens of a chunk, for each key head
    int64_t pairs = 0;      // likewise for each value head
    int64_t states = 0;     // a state a chunk and value head
    // Of the first chunks of all documents.
    int64_t first_states = 0, first_values = 0;
  };

  Held Take(int64_t bytes) { return {tally_, bytes}; }
  Held Floats(int64_t numbers) { return Take(numbers * kFloat); }
  Held Numbers(int64_t numbers) { return Take(numbers * element_); }
  // A conversion to float32, which is none of what is that already.
  Held AsFloats(int64_t numbers) { return element_ == kFloat ? Held() : Floats(numbers); }

  Held Gated(const Held& normed);
  Held Convolved();
  Held ConvForward();
  Held ConvBackward();
  Gates GatesOf();
  Held Chunked(int64_t numbers, int64_t of_tokens, bool is_float);
  void Unchunked(int64_t numbers);
  Input MakeRuleBlock();
  void Ruled();
  void RuledBackward();
  void OutputGateBackward();
  Within MakeWithin();
  Across MakeAcross();
  Across GoBack();
  void DeltaRuleForward();
  Input DeltaRuleBackward();
  Input ThroughStates();
  Held OfRightSide();
  Held ThroughSystem(Input& sum);
  void ThroughPairs(Held d_system);

  Tally& tally_;
  const Step step_;
  const DeltaShape s_;
  const int64_t element_, heads_, channels_, values_;  // a batch's numbers of each
  Block b_;
  int64_t padded_ = 0;  // tokens of all chunks
  int64_t features_ = 0;
};

}  // namespace ftd
