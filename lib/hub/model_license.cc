#include "lib/hub/model_license.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "lib/hub/front_matter.h"
#include "yaml-cpp/yaml.h"

namespace ftd::hub {
namespace {

constexpr size_t kMostYaml = 1 << 20, kMostText = 500;

bool IsLicenseId(const std::string& id) {
  return !id.empty() && id.size() < 100 && std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '-' || c == '.';
  });
}

std::string TextOf(const YAML::Node& node) {
  return node && node.IsScalar() && node.Scalar().size() <= kMostText ? node.Scalar() : "";
}

}  // namespace

License LicenseOfCard(std::string_view readme) {
  License license;
  const std::string yaml = FrontMatter(readme);
  if (yaml.size() > kMostYaml) return license;
  try {
    const YAML::Node card = YAML::Load(yaml);
    if (!card.IsMap()) return license;
    const YAML::Node given = card["license"];
    if (given && given.IsSequence()) {
      for (const YAML::Node& id : given) license.ids.push_back(TextOf(id));
    } else {
      license.ids.push_back(TextOf(given));
    }
    std::erase_if(license.ids, [](const std::string& id) { return !IsLicenseId(id); });
    license.name = TextOf(card["license_name"]);
    license.link = TextOf(card["license_link"]);
  } catch (const YAML::Exception&) {
    return License();  // somebody else's card
  }
  return license.ids.empty() ? License() : license;
}

}  // namespace ftd::hub
