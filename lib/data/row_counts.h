// What became of a dataset's rows on their way to token ids: the numbers that warnings are made of.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ftd {

struct RowCounts {
  int64_t dropped = 0;          // left out: nothing to learn
  int64_t cut = 0;              // longer than seq_length
  int64_t lost_completion = 0;  // of those: the cut took the whole completion
  int64_t empty = 0;            // no text to learn, only EOS
  int64_t longest = 0;          // tokens of the longest row, before the cut
  int64_t conversations = 0;    // rendered by the chat template
  // Conversations with a turn that ends in a token at which generation would not stop; and one such
  // token.
  int64_t unstopped = 0;
  int64_t unstopped_token = -1;

  void Add(const RowCounts& other) {
    dropped += other.dropped;
    cut += other.cut;
    lost_completion += other.lost_completion;
    empty += other.empty;
    longest = std::max(longest, other.longest);
    conversations += other.conversations;
    unstopped += other.unstopped;
    unstopped_token = std::max(unstopped_token, other.unstopped_token);
  }
  bool operator==(const RowCounts&) const = default;
};

// Their names in files, but for unstopped_token.
struct RowCount {
  const char* name;
  int64_t RowCounts::*member;
};
inline constexpr RowCount kRowCounts[] = {{"dropped_rows", &RowCounts::dropped},
                                          {"cut_rows", &RowCounts::cut},
                                          {"rows_without_completion", &RowCounts::lost_completion},
                                          {"empty_rows", &RowCounts::empty},
                                          {"longest_row_tokens", &RowCounts::longest},
                                          {"conversations", &RowCounts::conversations},
                                          {"rows_without_stop_token", &RowCounts::unstopped}};

}  // namespace ftd
