// Templates as a filter, for tests and benchmarks in Python.
//
//   render_lines              stdin: a JSON object a line, {"template", "variables", "now",
//   "watched"}.
//                             `now` is [year, month, day, hour, minute, second] or absent;
//                             `watched` names the variable whose elements are watched, or is
//                             absent. stdout for each: {"text", "generations": [[begin, end,
//                             captured]…], "visits": [[watched, begin, end]…]} with offsets in
//                             bytes, or
//                             {"error", "code", "raised", "parse"}
//   render_lines --time       stdin: as above up to an empty line; then each line renders all of
//   them
//                             once; stdout: the seconds, and the bytes of the texts
#include <chrono>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "lib/jinja/objects.h"
#include "lib/jinja/template.h"
#include "nlohmann/json.hpp"

namespace {

using ftd::jinja::Kind;
using ftd::jinja::Options;
using ftd::jinja::Template;
using ftd::jinja::Value;
using nlohmann::ordered_json;

struct Task {
  absl::StatusOr<Template> parsed;
  Value variables;
  Options options;
};

std::vector<Value> Elements(const Value& variables, const std::string& name) {
  const auto& dict = variables.As<ftd::jinja::DictObject>();
  const auto found = dict.Find(std::string_view(name));
  if (!found || !dict.items[*found].second.Is(Kind::kList)) return {};
  return dict.items[*found].second.As<ftd::jinja::ListObject>().items;
}

Task TaskOf(const ordered_json& line, std::map<std::string, absl::StatusOr<Template>>* templates) {
  const auto source = line.at("template").get<std::string>();
  auto found = templates->find(source);
  if (found == templates->end()) found = templates->emplace(source, Template::Parse(source)).first;
  Task task{found->second, *Value::FromJson(line.at("variables").dump()), {}};
  if (line.contains("now")) {
    const auto now = line.at("now").get<std::vector<int>>();
    task.options.now = absl::CivilSecond(now[0], now[1], now[2], now[3], now[4], now[5]);
  }
  if (line.contains("watched"))
    task.options.watched = Elements(task.variables, line.at("watched").get<std::string>());
  return task;
}

ordered_json ErrorOf(const absl::Status& status, bool parse) {
  return {{"error", std::string(status.message())},
          {"code", absl::StatusCodeToString(status.code())},
          {"raised", ftd::jinja::IsRaisedByTemplate(status)},
          {"parse", parse}};
}

ordered_json Answer(const Task& task) {
  if (!task.parsed.ok()) return ErrorOf(task.parsed.status(), true);
  const auto rendered = task.parsed->Render(task.variables, task.options);
  if (!rendered.ok()) return ErrorOf(rendered.status(), false);
  ordered_json answer = {{"text", rendered->text},
                         {"generations", ordered_json::array()},
                         {"visits", ordered_json::array()}};
  for (const auto& span : rendered->generations)
    answer["generations"].push_back({span.begin, span.end, span.captured});
  for (const auto& visit : rendered->visits)
    answer["visits"].push_back({visit.watched, visit.begin, visit.end});
  return answer;
}

void Time(const std::vector<Task>& tasks) {
  const auto begin = std::chrono::steady_clock::now();
  size_t bytes = 0;
  for (const Task& task : tasks)
    bytes += task.parsed->Render(task.variables, task.options)->text.size();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::cout << took.count() << ' ' << bytes << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  const bool time = argc == 2 && std::strcmp(argv[1], "--time") == 0;
  if (argc != 1 && !time) {
    std::cerr << "usage: render_lines [--time]\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  std::map<std::string, absl::StatusOr<Template>> templates;
  std::vector<Task> tasks;
  std::string line;
  while (std::getline(std::cin, line) && !line.empty()) {
    Task task = TaskOf(ordered_json::parse(line), &templates);
    if (time) {
      tasks.push_back(std::move(task));
    } else {
      std::cout << Answer(task).dump() << '\n';
    }
  }
  while (std::getline(std::cin, line)) Time(tasks);
}
