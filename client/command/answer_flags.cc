#include "client/command/answer_flags.h"

namespace ftd {

void AddAnswerFlags(Flags& flags, v1::GenerateRequest* request) {
  flags.Group("Answer");
  flags.Int64("--max-new-tokens", "Tokens of the answer, at most [256]",
              [=](int64_t value) { request->set_max_new_tokens(value); });
  flags.Double("--temperature",
               "Divides the logits before a token is drawn; 0 takes the likeliest [0]",
               [=](double value) { request->set_temperature(value); });
  flags.Int64("--top-k", "Draw from the likeliest so many tokens; 0: from all [0]",
              [=](int64_t value) { request->set_top_k(value); });
  flags.Double("--top-p", "Draw from the likeliest whose probabilities reach this [1]",
               [=](double value) { request->set_top_p(value); });
  flags.Double("--min-p", "Draw from those at least this times as likely as the likeliest [0]",
               [=](double value) { request->set_min_p(value); });
  flags.Double("--repetition-penalty", "Makes tokens that the text has less likely; 1: no less [1]",
               [=](double value) { request->set_repetition_penalty(value); });
  flags.Int64("--seed", "Of the draws [drawn]", [=](int64_t value) { request->set_seed(value); });
}

}  // namespace ftd
