// Bounds how deep the parser recurses.
#pragma once

#include "lib/base/concat.h"
#include "lib/jinja/parser.h"

namespace ftd::jinja {

class Parser::Nesting {
 public:
  explicit Nesting(Parser* parser) : parser_(parser) {
    if (parser->nesting_ >= kMost)
      parser->FailHere(Concat("brackets and blocks nest deeper than ", kMost, " levels"));
    ++parser->nesting_;
  }
  ~Nesting() { --parser_->nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  static constexpr int kMost = 300;
  Parser* const parser_;
};

}  // namespace ftd::jinja
