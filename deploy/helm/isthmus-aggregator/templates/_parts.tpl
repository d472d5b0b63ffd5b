{{- define "isthmus.selector" -}}
app.kubernetes.io/name: isthmus
app.kubernetes.io/component: aggregator
{{- end }}

{{- define "isthmus.labels" -}}
{{ include "isthmus.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "isthmus.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* What no schema can say: values that do not go together. */}}
{{- define "isthmus.checks" -}}
{{- $window := div (add 10485760 (sub (int .Values.limits.minUploadBytesPerSecond) 1)) (int .Values.limits.minUploadBytesPerSecond) -}}
{{- if lt (int .Values.drainSeconds) (int $window) -}}
{{- fail (printf "drainSeconds is %d, but the slowest upload that limits.minUploadBytesPerSecond allows takes %d s for one window of 10 MiB. Set drainSeconds to %d or more, or raise the limit." (int .Values.drainSeconds) (int $window) (int $window)) -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)." (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (or .Values.enrolment.enabled .Values.certManager.enabled) (not .Values.secrets.authority) -}}
{{- fail "secrets.authority is empty: enrolment and cert-manager issue certificates with it. Name its Secret, or set enrolment.enabled and certManager.enabled to false." -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled (not .Values.metrics.enabled) -}}
{{- fail "metrics.podMonitor.enabled is true, but metrics.enabled is false: there is nothing to monitor. Set both, or neither." -}}
{{- end -}}
{{- if and (eq .Values.exposure.kind "ingress") .Values.enrolment.enabled (not .Values.exposure.ingress.enrolmentHost) -}}
{{- fail "exposure.ingress.enrolmentHost is empty: an ingress has one port, so enrolment needs a host of its own. Name one, or set enrolment.enabled to false." -}}
{{- end -}}
{{- end }}
