// Building Prometheus families by hand, for what is read at the scrape.
#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>

#include <map>
#include <string>

namespace ftd {

// By name.
using MetricLabels = std::map<std::string, std::string>;

// A family without samples. The names of families are unique in a scrape.
inline prometheus::MetricFamily EmptyFamily(const char* name, const char* help,
                                            prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

// The labels alone; the caller sets the value of its kind.
inline prometheus::ClientMetric LabelledMetric(const MetricLabels& labels) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

// Adds a sample to a family of gauges or counters.
inline void AddSample(prometheus::MetricFamily& family, const MetricLabels& labels, double value) {
  prometheus::ClientMetric metric = LabelledMetric(labels);
  metric.gauge.value = value;
  metric.counter.value = value;
  family.metric.push_back(std::move(metric));
}

}  // namespace ftd
