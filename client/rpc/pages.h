// Lists that ftd answers in pages.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/rpc/connection.h"
#include "lib/base/error.h"

namespace ftd {

// Calls `method` until there is no further page, and returns all of them as one answer.
template <class Request, class Response>
absl::StatusOr<Response> CallForAllPages(Connection& connection,
                                         grpc::Status (ftd::v1::FineTuning::Stub::*method)(
                                             grpc::ClientContext*, const Request&, Response*),
                                         Request request) {
  Response all;
  while (true) {
    FTD_ASSIGN_OR_RETURN(Response page, connection.Call(method, request));
    request.set_page_token(page.next_page_token());
    page.clear_next_page_token();
    all.MergeFrom(page);
    if (request.page_token().empty()) return all;
  }
}

}  // namespace ftd
