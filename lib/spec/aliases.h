// Short names of models, as the playbook's users say them.
#pragma once

#include <map>
#include <string>

namespace ftd::hub {

// Alias to repository: llama3.1-8b is the instruct model, llama3.1-8b-base the base model.
const std::map<std::string, std::string>& BuiltInAliases();

}  // namespace ftd::hub
