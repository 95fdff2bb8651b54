// Tokenises a dataset into a store as a job does, for bench/dataset.py and bench/chat.py:
// encode_dataset MODEL_DIR THREADS OUT_DIR FILE… Each line on stdin makes it do so once, into an
// empty OUT_DIR, and print the seconds and the tokens.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "lib/data/token_cache.h"
#include "lib/tokenizer/tokenizer.h"

namespace {

int64_t Tokens(const ftd::RowSource& rows) {
  int64_t tokens = 0;
  for (int64_t i = 0; i < rows.size(); ++i) tokens += rows.Length(i)->tokens;
  return tokens;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::filesystem::path model(argv[1]), out(argv[3]);
  const auto tokenizer = ftd::Tokenizer::Load(model);
  if (!tokenizer.ok()) return 1;
  const auto encoder = ftd::MakeRowEncoder(model, **tokenizer, 2048);
  if (!encoder.ok()) return 1;
  ftd::TokenCache::Request request{.encoder = &*encoder,
                                   .threads = std::atoi(argv[2]),
                                   .progress = [](int64_t, int64_t) { return true; }};
  request.dataset.chat =
      std::make_shared<ftd::ChatSource>(model, ftd::ChatRules{}, tokenizer->get());
  for (int i = 4; i < argc; ++i)
    request.dataset.files.push_back({argv[i], std::filesystem::path(argv[i]).filename(), ""});
  for (std::string line; std::getline(std::cin, line);) {
    std::filesystem::remove_all(out);
    const auto begin = std::chrono::steady_clock::now();
    const auto dataset = ftd::TokenCache(out, ftd::kDefaultTokenCacheBytes).Get(request);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (!dataset.ok()) {
      std::cerr << dataset.status().message() << "\n";
      return 1;
    }
    std::printf("%.6f %lld\n", seconds.count(), static_cast<long long>(Tokens(*dataset->rows)));
    std::fflush(stdout);
  }
  return 0;
}
