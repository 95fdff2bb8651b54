// The command line of one verb.
//
// Flags are kebab-case; `--batch_size` is read as `--batch-size`. A flag calls its setter only when
// it was given, so that what the user did not say stays unsaid. Only this pair includes CLI11,
// which is slow to compile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/command/verbs.h"

namespace ftd {

class Flags {
 public:
  // `usage` is the text after "ftctl VERB" in the help; `examples` closes it.
  Flags(const Invocation& call, const std::string& verb, const std::string& description,
        const std::string& examples);
  ~Flags();

  // An argument by position. `type` as for Text, where the name does not say it.
  void Positional(const std::string& name, const std::string& help, std::string* value,
                  const std::string& type = "", bool required = true);

  // `names` as in "-n,--lines". `type` names what it takes, by which shells complete it: FILE, DIR,
  // PATH, MODEL (lib/cli/command_doc.h).
  void Text(const std::string& names, const std::string& help,
            std::function<void(const std::string&)> set, const std::string& type = "TEXT");
  void Text(const std::string& names, const std::string& help, std::string* value,
            const std::string& type = "TEXT");
  // One of `choices`, once `meant` has made it of what was typed.
  void Choice(const std::string& names, const std::string& help,
              const std::vector<std::string>& choices, std::function<void(const std::string&)> set,
              std::function<std::string(const std::string&)> meant = {});
  void Choice(const std::string& names, const std::string& help,
              const std::vector<std::string>& choices, std::string* value);
  // The same, and `bare` where no word follows but another flag. An argument by position right
  // after it would be taken for its value.
  void ChoiceOrBare(const std::string& name, const std::string& help,
                    const std::vector<std::string>& choices, const std::string& bare,
                    std::function<void(const std::string&)> set);
  void Int32(const std::string& names, const std::string& help, std::function<void(int32_t)> set);
  // The same, or `word`, in any case.
  void Int32Or(const std::string& names, const std::string& help, const std::string& word,
               std::function<void(int32_t)> set, std::function<void()> set_word);
  void Int64(const std::string& names, const std::string& help, std::function<void(int64_t)> set);
  // Correctly rounded; "nan" and "inf" are not numbers here.
  void Double(const std::string& names, const std::string& help, std::function<void(double)> set);
  // Without a value. "--shuffle,!--no-shuffle" has a negative spelling.
  void Switch(const std::string& names, const std::string& help, std::function<void(bool)> set);
  void Switch(const std::string& names, const std::string& help, bool* value);
  // May be given several times.
  void Repeated(const std::string& names, const std::string& help, std::vector<std::string>* values,
                const std::string& type = "TEXT");

  // A flag that must be given, unless another one is: `name` as declared, without alternatives,
  // `instead` with all of its names.
  void Require(const std::string& name, const std::string& instead);
  // Flags declared from here on are shown under `title`.
  void Group(const std::string& title);

  // Reads the arguments. nullopt: the verb continues. Else the exit code: 0 after --help and where
  // the verb was to describe itself (Invocation::describe), 2 after a usage error, which is
  // reported on stderr with the nearest known flag.
  std::optional<int> Parse();

  // Values of --address and the flags about TLS, given before or after the verb.
  const ServerAddress& address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ftd
