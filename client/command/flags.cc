#include "client/command/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/base/exit_codes.h"
#include "client/text/text.h"
#include "lib/base/nearest.h"
#include "lib/cli/bare_flag.h"
#include "lib/cli/help_formatter.h"

namespace ftd {
namespace {

// Makes `--batch_size=4` into `--batch-size=4`. Stops at a bare "--".
std::vector<std::string> WithDashes(std::vector<std::string> args) {
  for (std::string& arg : args) {
    if (arg == "--") break;
    if (arg.rfind("--", 0) != 0) continue;
    const size_t end = std::min(arg.find('='), arg.size());
    std::replace(arg.begin(), arg.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  }
  return args;
}

CLI::ConversionError NotA(const std::string& kind, const std::string& value) {
  return {absl::StrCat("needs ", kind, "; got '", Printable(value), "'"),
          CLI::ExitCodes::ConversionError};
}

}  // namespace

struct Flags::Impl {
  CLI::App app;
  std::string verb;
  ServerAddress address;
  std::vector<std::string> args;
  CommandDoc* describe;
  std::string group = "Options";

  // Adds a flag with a value. All of them go through here: `set` converts the text, and throws when
  // it cannot.
  void Add(const std::string& names, const std::string& help, const std::string& type,
           std::function<void(const std::string&)> set) {
    // The long name, for messages: "--output" of "-o,--output".
    const std::string name =
        names.substr(names.find("--"), names.find(',', names.find("--")) - names.find("--"));
    auto named = [name, set = std::move(set)](const std::string& text) {
      try {
        set(text);
      } catch (const CLI::ConversionError& error) {
        throw CLI::ConversionError(name + " " + error.what(), CLI::ExitCodes::ConversionError);
      }
    };
    CLI::Option* option = app.add_option_function<std::string>(names, std::move(named), help);
    option->type_name(type)->group(group)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }

  std::string NearestFlag(const std::string& unknown) const;
  int UsageError(const std::string& message) const;
};

std::string Flags::Impl::NearestFlag(const std::string& unknown) const {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return Nearest(unknown.substr(0, unknown.find('=')), names);
}

int Flags::Impl::UsageError(const std::string& message) const {
  std::cerr << "ftctl " << verb << ": " << message << "\nftctl help " << verb
            << " shows what it takes." << std::endl;
  return kExitUsage;
}

Flags::Flags(const Invocation& call, const std::string& verb, const std::string& description,
             const std::string& examples)
    : impl_(std::make_unique<Impl>()) {
  impl_->verb = verb;
  impl_->address = call.address;
  impl_->args = WithDashes(call.args);
  impl_->describe = call.describe;
  impl_->app.name("ftctl " + verb);
  impl_->app.description(description);
  impl_->app.footer("Examples:\n" + examples);
  // Extras are looked at by Parse, which can name the nearest flag.
  impl_->app.allow_extras();
  impl_->app.set_help_flag("-h,--help", "Show this help");
  impl_->app.formatter(std::make_shared<HelpFormatter>());
  impl_->app.get_formatter()->column_width(38);
  Group("Connection");
  for (const ServerFlag& flag : kServerFlags) {
    Text(flag.name, flag.help, &(impl_->address.*flag.field), flag.value);
  }
  Group("Options");
}

Flags::~Flags() = default;

const ServerAddress& Flags::address() const { return impl_->address; }

void Flags::Positional(const std::string& name, const std::string& help, std::string* value,
                       const std::string& type, bool required) {
  impl_->app.add_option(name, *value, help)->required(required)->type_name(type);
}

void Flags::Text(const std::string& names, const std::string& help,
                 std::function<void(const std::string&)> set, const std::string& type) {
  impl_->Add(names, help, type, std::move(set));
}

void Flags::Text(const std::string& names, const std::string& help, std::string* value,
                 const std::string& type) {
  impl_->Add(names, help, type, [value](const std::string& text) { *value = text; });
}

// A list of words in the help, and an error that names them all.
void Flags::Choice(const std::string& names, const std::string& help,
                   const std::vector<std::string>& choices,
                   std::function<void(const std::string&)> set,
                   std::function<std::string(const std::string&)> meant) {
  const auto check = [choices, set = std::move(set),
                      meant = std::move(meant)](const std::string& typed) {
    const std::string text = meant ? meant(typed) : typed;
    if (std::find(choices.begin(), choices.end(), text) == choices.end())
      throw NotA("one of " + absl::StrJoin(choices, ", "), text);
    set(text);
  };
  impl_->Add(names, help, absl::StrJoin(choices, "|"), check);
}

void Flags::Choice(const std::string& names, const std::string& help,
                   const std::vector<std::string>& choices, std::string* value) {
  Choice(names, help, choices, [value](const std::string& text) { *value = text; });
}

void Flags::ChoiceOrBare(const std::string& name, const std::string& help,
                         const std::vector<std::string>& choices, const std::string& bare,
                         std::function<void(const std::string&)> set) {
  Choice(name, help, choices, std::move(set));
  // "--gradient-checkpointing --name x": a word with a dash is the next flag.
  const auto takes = [](const std::string& word) { return word.empty() || word[0] != '-'; };
  impl_->args = WithBareValue(std::move(impl_->args), {{name}, bare, takes});
}

// The range of the type is checked here, that of the field by ftd.
void Flags::Int32(const std::string& names, const std::string& help,
                  std::function<void(int32_t)> set) {
  impl_->Add(names, help, "INT", [set = std::move(set)](const std::string& text) {
    int32_t value = 0;
    if (!absl::SimpleAtoi(text, &value)) throw NotA("a whole number of at most 32 bits", text);
    set(value);
  });
}

void Flags::Int32Or(const std::string& names, const std::string& help, const std::string& word,
                    std::function<void(int32_t)> set, std::function<void()> set_word) {
  const auto read = [word, set = std::move(set),
                     set_word = std::move(set_word)](const std::string& text) {
    int32_t value = 0;
    if (absl::EqualsIgnoreCase(text, word)) return set_word();
    if (!absl::SimpleAtoi(text, &value))
      throw NotA(absl::StrCat("a whole number of at most 32 bits, or ", word), text);
    set(value);
  };
  impl_->Add(names, help, absl::StrCat("INT|", word), read);
}

void Flags::Int64(const std::string& names, const std::string& help,
                  std::function<void(int64_t)> set) {
  impl_->Add(names, help, "INT", [set = std::move(set)](const std::string& text) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(text, &value)) throw NotA("a whole number", text);
    set(value);
  });
}

// "nan" and "inf" are numbers to SimpleAtod, but to no setting.
void Flags::Double(const std::string& names, const std::string& help,
                   std::function<void(double)> set) {
  impl_->Add(names, help, "NUMBER", [set = std::move(set)](const std::string& text) {
    double value = 0;
    if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) throw NotA("a number", text);
    set(value);
  });
}

// "!--no-x" in `names` is the opposite; the last one on the command line counts.
void Flags::Switch(const std::string& names, const std::string& help,
                   std::function<void(bool)> set) {
  impl_->app
      .add_flag_function(
          names, [set = std::move(set)](int64_t count) { set(count > 0); }, help)
      ->group(impl_->group)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void Flags::Switch(const std::string& names, const std::string& help, bool* value) {
  Switch(names, help, [value](bool on) { *value = on; });
}

// expected(1): one value per flag, so that the next argument is not swallowed.
void Flags::Repeated(const std::string& names, const std::string& help,
                     std::vector<std::string>* values, const std::string& type) {
  impl_->app.add_option(names, *values, help)
      ->type_name(type)
      ->group(impl_->group)
      ->expected(1)
      ->take_all();
}

void Flags::Require(const std::string& name, const std::string& instead) {
  const std::vector<std::string> names = absl::StrSplit(instead, ',');
  const bool has_instead =
      std::any_of(impl_->args.begin(), impl_->args.end(), [&](const std::string& arg) {
        return std::find(names.begin(), names.end(), arg.substr(0, arg.find('='))) != names.end();
      });
  if (!has_instead) impl_->app.get_option(name)->required();
}

void Flags::Group(const std::string& title) { impl_->group = title; }

std::optional<int> Flags::Parse() {
  // Describe mode: nothing is parsed.
  if (impl_->describe != nullptr) {
    *impl_->describe = DescribeCommand(impl_->app);
    return kExitOk;
  }
  std::string failure;
  try {
    // CLI11 takes a vector from its end.
    std::vector<std::string> reversed(impl_->args.rbegin(), impl_->args.rend());
    impl_->app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::cout << absl::StrReplaceAll(impl_->app.help(), {{"\n\n\n", "\n\n"}}) << std::flush;
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    failure = error.what();
  }
  // A mistyped flag is the likely cause of any other complaint, such as a required one that is
  // missing. So it is reported first.
  for (const std::string& extra : impl_->app.remaining()) {
    if (extra == "--") break;  // what follows is not a flag
    if (extra.size() < 2 || extra[0] != '-') continue;
    const std::string nearest = impl_->NearestFlag(extra);
    return impl_->UsageError(
        absl::StrCat("unknown flag ", Printable(extra),
                     nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
  }
  if (!failure.empty()) return impl_->UsageError(failure);
  for (const std::string& extra : impl_->app.remaining()) {
    if (extra == "--") continue;
    return impl_->UsageError(absl::StrCat("unexpected argument '", Printable(extra), "'"));
  }
  return std::nullopt;
}

}  // namespace ftd
