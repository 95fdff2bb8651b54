// The help texts of all programs.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_replace.h"

namespace ftd {

// CLI11's, but a negative spelling reads "--no-shuffle", not "--no-shuffle{false}".
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    return absl::StrReplaceAll(Formatter::make_option_name(option, is_positional),
                               {{"{false}", ""}});
  }
};

}  // namespace ftd
