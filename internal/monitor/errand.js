// asynqmon's pages say nothing when the server refuses a change. This shows why, above
// the page.
(function () {
  "use strict";
  function show(text) {
    var bar = document.getElementById("errand-refusal");
    if (!bar) {
      bar = document.createElement("div");
      bar.id = "errand-refusal";
      bar.setAttribute("role", "alert");
      bar.title = "click to close";
      bar.style.cssText =
        "position:fixed;top:0;left:0;right:0;z-index:9999;padding:12px 24px;cursor:pointer;" +
        "background:#b00020;color:#fff;font:16px sans-serif";
      bar.onclick = function () { bar.remove(); };
      document.body.appendChild(bar);
    }
    bar.textContent = text;
  }
  function failed(answer) {
    try {
      var body = JSON.parse(answer);
      return (body.failed_ids || []).length + (body.error_ids || []).length;
    } catch (e) {
      return 0;
    }
  }
  var open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method) {
    if (String(method).toUpperCase() !== "GET") {
      this.addEventListener("load", function () {
        if (this.status >= 400) {
          show(this.responseText.trim());
        } else if (failed(this.responseText) > 0) {
          show(failed(this.responseText) + " of the tasks could not be changed; try one of them alone to see why");
        }
      });
    }
    return open.apply(this, arguments);
  };
})();
