#include "lib/cli/man_page.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

// Escapes one line of text, our own and so valid UTF-8, so that troff takes none of it for a
// request. The quotes and dashes of ASCII are named, because troff would set typographic ones.
std::string Escaped(const std::string& text) {
  std::string out;
  if (absl::StartsWith(text, ".") || absl::StartsWith(text, "'")) out = "\\&";
  for (size_t at = 0; at < text.size();) {
    const uint32_t code = DecodeUtf8(text, at);
    at += Utf8Length(static_cast<unsigned char>(text[at]));
    switch (code) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        if (code < 0x80) {
          out += static_cast<char>(code);
        } else {
          absl::StrAppendFormat(&out, "\\[u%04X]", code);
        }
    }
  }
  return out;
}

// Returns flowing text, with each line of the source on a line of its own.
std::string Paragraph(const std::string& text) {
  std::string out;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    absl::StrAppend(&out, Escaped(std::string(absl::StripAsciiWhitespace(line))), "\n");
  }
  return out;
}

// Returns "-o, --output table|json", with names in bold and values in italics.
std::string Term(const ArgumentDoc& flag) {
  std::string out = absl::StrJoin(flag.names, ", ", [](std::string* text, const std::string& name) {
    absl::StrAppend(text, "\\fB", Escaped(name), "\\fR");
  });
  if (!flag.value.empty()) {
    // \: lets a long list continue on the next line, without a hyphen.
    const std::string value = absl::StrReplaceAll(Escaped(flag.value), {{"|", "|\\:"}});
    absl::StrAppend(&out, " \\fI", value, "\\fR");
  }
  return out;
}

void AppendTerm(const std::string& term, const std::string& text, std::string* page) {
  absl::StrAppend(page, ".TP\n", term, "\n", Paragraph(text));
}

void AppendFlags(const CommandDoc& command, const std::vector<ArgumentDoc>& told,
                 std::string* page) {
  for (const ArgumentDoc& argument : command.arguments) {
    const std::string name = "\\fI" + Escaped(argument.names[0]) + "\\fR";
    std::string help = argument.help;
    if (!argument.choices.empty()) absl::StrAppend(&help, "\n", argument.value);
    AppendTerm(name, help, page);
  }
  std::string group = "Options";  // needs no heading of its own where it comes first
  for (const ArgumentDoc& flag : command.flags) {
    // `told` has the program's own flags, which each verb takes as well; once is enough.
    if (IsAmong(flag, told)) continue;
    if (flag.group != group) {
      group = flag.group;
      // A new paragraph directly below a chapter's head is a mistake in troff.
      absl::StrAppend(page, absl::EndsWith(*page, ".SH OPTIONS\n") ? "" : ".PP\n", "\\fB",
                      Escaped(group), "\\fR\n");
    }
    AppendTerm(Term(flag), absl::StrCat(flag.help, flag.required ? ".\nRequired." : ""), page);
  }
}

// Appends the footer of --help: "Examples:" and indented lines.
void AppendExamples(const std::string& footer, std::string* page) {
  absl::string_view lines = footer;
  absl::ConsumePrefix(&lines, "Examples:\n");
  if (absl::StripAsciiWhitespace(lines).empty()) return;
  absl::StrAppend(page, ".PP\n\\fBExamples\\fR\n.PP\n.nf\n");
  for (absl::string_view line : absl::StrSplit(lines, '\n', absl::SkipWhitespace())) {
    absl::StrAppend(page, Escaped(std::string(line)), "\n");
  }
  absl::StrAppend(page, ".fi\n");
}

// Returns a line such as "ftctl submit [OPTION]...", in man's fonts.
std::string Usage(const std::string& name, const CommandDoc& command) {
  std::string usage = absl::StrCat("\\fB", Escaped(name), "\\fR");
  if (!command.flags.empty()) absl::StrAppend(&usage, " [\\fIOPTION\\fR]...");
  for (const ArgumentDoc& argument : command.arguments) {
    const std::string word = "\\fI" + Escaped(argument.names[0]) + "\\fR";
    absl::StrAppend(&usage, " ", argument.required ? word : "[" + word + "]");
  }
  if (!command.commands.empty()) absl::StrAppend(&usage, " \\fIVERB\\fR ...");
  return usage + "\n";
}

// Appends a verb's section and, after it, those of its own verbs.
void AppendCommand(const std::string& name, const CommandDoc& command,
                   const std::vector<ArgumentDoc>& told, std::string* page) {
  absl::StrAppend(page, ".SS ", Escaped(name), "\n", Usage(name, command), ".PP\n",
                  Paragraph(command.description.empty() ? command.summary : command.description));
  AppendFlags(command, told, page);
  AppendExamples(command.examples, page);
  for (const CommandDoc& inner : command.commands) {
    AppendCommand(absl::StrCat(name, " ", inner.name), inner, told, page);
  }
}

}  // namespace

// The usual sections of a manual page (man-pages(7)).
std::string ManPage(const ProgramDoc& program) {
  const CommandDoc& command = program.command;
  // .nh and .ad l: no hyphenation, no justification; flags must stay whole.
  std::string page = absl::StrFormat(
      R"(.\" Made by the build from the tables of `%s --help`.
.TH %s %d "" "ftd %s" "ftd manual"
.nh
.ad l
.SH NAME
%s \- %s
.SH SYNOPSIS
%s.SH DESCRIPTION
%s.SH OPTIONS
)",
      command.name, absl::AsciiStrToUpper(command.name), program.section, program.version,
      Escaped(command.name), Escaped(command.summary), Usage(command.name, command),
      Paragraph(command.description));
  AppendFlags(command, {}, &page);
  AppendExamples(command.examples, &page);
  if (!command.commands.empty()) absl::StrAppend(&page, ".SH VERBS\n");
  for (const CommandDoc& verb : command.commands) {
    AppendCommand(absl::StrCat(command.name, " ", verb.name), verb, command.flags, &page);
  }
  for (const DocSection& section : program.sections) {
    absl::StrAppend(&page, ".SH ", section.title, "\n");
    for (const auto& [term, text] : section.rows) {
      AppendTerm("\\fB" + Escaped(term) + "\\fR", text, &page);
    }
  }
  return page;
}

}  // namespace ftd
