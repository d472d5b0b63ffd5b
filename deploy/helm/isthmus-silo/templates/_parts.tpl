{{- define "isthmus.selector" -}}
app.kubernetes.io/name: isthmus
app.kubernetes.io/component: silo
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

{{/* How many GPUs. */}}
{{- define "isthmus.gpus" -}}
{{- if ge (int .Values.gpus) 0 }}{{ int .Values.gpus }}{{ else if eq .Values.kind "job" }}1{{ else }}0{{ end -}}
{{- end }}

{{/* The pod, the same in both kinds. */}}
{{- define "isthmus.pod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: isthmus-silo
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: {{ if eq .Values.kind "job" }}Never{{ else }}Always{{ end }}
terminationGracePeriodSeconds: 60  # nothing needs saving: what is trained lies in the outbox, uploads resume
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- if ne (include "isthmus.gpus" .) "0" }}
tolerations:
  - key: nvidia.com/gpu
    operator: Exists
    effect: NoSchedule
{{- end }}
containers:
  - name: silo
    image: {{ include "isthmus.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [python, -m, silo_agent]
    args: [run, --config, /etc/isthmus/config/silo.toml]
    env:
      - name: HOME
        value: /var/lib/isthmus
      {{- if ne (include "isthmus.gpus" .) "0" }}
      - name: ISTHMUS_SILO__COMPUTE__DEVICE
        value: cuda
      {{- end }}
    resources:
      requests:
        {{- toYaml .Values.resources.requests | nindent 8 }}
      limits:
        {{- toYaml .Values.resources.limits | nindent 8 }}
        {{- if ne (include "isthmus.gpus" .) "0" }}
        nvidia.com/gpu: {{ include "isthmus.gpus" . | quote }}
        {{- end }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      runAsNonRoot: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: config
        mountPath: /etc/isthmus/config
        readOnly: true
      - name: invitation
        mountPath: /etc/isthmus/invitation
        readOnly: true
      - name: state
        mountPath: /var/lib/isthmus
      - name: data
        mountPath: /data
        readOnly: true
      - name: models
        mountPath: /models
        readOnly: true
      - name: tmp
        mountPath: /tmp
volumes:
  - name: config
    configMap:
      name: isthmus-silo-config
  - name: invitation
    secret:
      secretName: {{ .Values.invitationSecret }}
      defaultMode: 0440
      optional: true  # may be deleted once the silo has enrolled
  - name: state
    persistentVolumeClaim:
      claimName: isthmus-silo-state
  # The site's own: its pictures, and the model's folder. The agent reads them alone.
  - name: data
    persistentVolumeClaim:
      claimName: {{ .Values.dataClaim }}
      readOnly: true
  - name: models
    persistentVolumeClaim:
      claimName: {{ .Values.modelsClaim }}
      readOnly: true
  - name: tmp
    emptyDir:
      sizeLimit: 2Gi
{{- end }}
