// The tokenizer as a filter, for tests and benchmarks in Python.
//
//   encode_lines TOKENIZER                   a model's folder, or a tokenizer.json by itself.
//   stdin: a JSON string a line; stdout for each:
//                                            {"ids": with special tokens, "plain": without,
//                                            "decoded": text of plain}
//                                            a line {"text", "positions": bytes of it} adds
//                                            {"plain_at", "tokens": EncodeAt's, at the positions}
//   encode_lines TOKENIZER --time FILE       FILE: a JSON string a line; each line of stdin encodes
//   all of them once;
//                                            stdout: seconds, tokens
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

void Filter(const ftd::Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    const auto text = (request.is_object() ? request["text"] : request).get<std::string>();
    const std::vector<int32_t> plain = tokenizer.Encode(text, false);
    json reply = {{"ids", tokenizer.Encode(text, true)},
                  {"plain", plain},
                  {"decoded", tokenizer.Decode(plain)}};
    if (request.is_object()) {
      std::vector<size_t> tokens;
      reply["plain_at"] = tokenizer.EncodeAt(text, request["positions"], &tokens);
      reply["tokens"] = tokens;
    }
    std::cout << reply.dump() << '\n';
  }
}

void Time(const ftd::Tokenizer& tokenizer, const char* path) {
  std::vector<std::string> texts;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    texts.push_back(json::parse(line).get<std::string>());
  for (std::string line; std::getline(std::cin, line);) {
    size_t tokens = 0;
    const auto begin = Clock::now();
    for (const std::string& text : texts) tokens += tokenizer.Encode(text, false).size();
    std::cout << Seconds(Clock::now() - begin) << ' ' << tokens << std::endl;
  }
}

absl::StatusOr<std::unique_ptr<ftd::Tokenizer>> Load(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return ftd::Tokenizer::Load(path);
  FTD_ASSIGN_OR_RETURN(const std::string text, ftd::ReadFile(path));
  return ftd::Tokenizer::Parse(text);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && !(argc == 4 && std::string(argv[2]) == "--time")) {
    std::cerr << "usage: encode_lines TOKENIZER [--time FILE]\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  const auto begin = Clock::now();
  const auto tokenizer = Load(argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << '\n';
    return 1;
  }
  std::cerr << "loaded in " << Seconds(Clock::now() - begin) << " s, EOS "
            << json((*tokenizer)->EosToken()).dump() << ", special tokens "
            << json(std::map<std::string, std::string>((*tokenizer)->SpecialTokens().begin(),
                                                       (*tokenizer)->SpecialTokens().end()))
                   .dump()
            << '\n';
  argc == 2 ? Filter(**tokenizer) : Time(**tokenizer, argv[3]);
}
