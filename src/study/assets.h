/* Style sheets and script of the report, embedded when the program is built (src/study/embed.py). Terminated texts. */
#ifndef DD_STUDY_ASSETS_H
#define DD_STUDY_ASSETS_H
extern const char dd_asset_plot_css[], dd_asset_report_css[], dd_asset_report_js[];
#endif
