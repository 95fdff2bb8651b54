// What became of a dataset's rows on their way to token ids: the numbers that warnings are made of.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ftd {

struct RowCounts {
  int64_t kept = 0;             // in the store
  int64_t dropped = 0;          // left out: nothing to learn
  int64_t dropped_by_cut = 0;   // of those: the cut took all that is learned
  int64_t cut = 0;              // longer than seq_length
  int64_t lost_completion = 0;  // of those: the cut took the whole completion
  int64_t empty = 0;            // no text to learn, only EOS
  int64_t longest = 0;          // tokens of the longest row, before the cut
  int64_t conversations = 0;    // rendered by the chat template
  int64_t tokens = 0;           // of the kept rows, after the cut
  int64_t labels = 0;           // of those: learned (CountLabels)
  int64_t cut_tokens = 0;       // that the cut took from kept rows
  // Conversations with a turn that ends in a token at which generation would not stop; and one such
  // token.
  int64_t unstopped = 0;
  int64_t unstopped_token = -1;

  void Add(const RowCounts& other);
  bool operator==(const RowCounts&) const = default;
};

// Their names in files, but for unstopped_token.
struct RowCount {
  const char* name;
  int64_t RowCounts::*member;
};
inline constexpr RowCount kRowCounts[] = {{"kept_rows", &RowCounts::kept},
                                          {"dropped_rows", &RowCounts::dropped},
                                          {"rows_dropped_by_cut", &RowCounts::dropped_by_cut},
                                          {"cut_rows", &RowCounts::cut},
                                          {"rows_without_completion", &RowCounts::lost_completion},
                                          {"empty_rows", &RowCounts::empty},
                                          {"longest_row_tokens", &RowCounts::longest},
                                          {"conversations", &RowCounts::conversations},
                                          {"tokens", &RowCounts::tokens},
                                          {"learned_tokens", &RowCounts::labels},
                                          {"cut_tokens", &RowCounts::cut_tokens},
                                          {"rows_without_stop_token", &RowCounts::unstopped}};

// Sums, but for the two that are not counts.
inline void RowCounts::Add(const RowCounts& other) {
  const int64_t most = std::max(longest, other.longest);
  for (const RowCount& count : kRowCounts) this->*count.member += other.*count.member;
  longest = most;
  unstopped_token = std::max(unstopped_token, other.unstopped_token);
}

}  // namespace ftd
